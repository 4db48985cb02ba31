//! Build script of the packages with a program that runs on devices: asks the linker to pack relative relocations
//! (DT_RELR). A program of this size has 80,000 of them, 24 bytes each, which the loader reads at every start and
//! which then count as the agent's memory; packed they are a few pages.
//!
//! The loader must know them: glibc 2.36 and later do. So they are packed when this machine has such a glibc and
//! builds for itself; its programs need a glibc of about its own version in any case. docs/adr/0007.

use std::env;
use std::process::Command;

/// The first glibc whose loader reads packed relocations.
const FIRST_GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=../shared/build/relocations.rs");
    let for_itself = env::var("HOST") == env::var("TARGET");
    let for_glibc = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu");
    if for_itself && for_glibc && glibc().is_some_and(|found| found >= FIRST_GLIBC) {
        // a linker that does not know the option warns and goes on
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// This machine's glibc, as `getconf` writes it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
