//! What a person or a script reads on standard output. Logs go to standard error, through `tracing`.

use std::io::{self, Write as _};

/// Writes one line.
///
/// # Errors
/// When standard output is closed: the reader has gone, and the command should end.
pub fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes one line to standard error: what went wrong, for the person who typed the command.
pub fn error_line(text: impl std::fmt::Display) {
    // nowhere is left to report a closed standard error
    let _ = writeln!(io::stderr().lock(), "{text}");
}
