//! A stream's retained events as a table, read from the log an entry at a time.

use std::sync::Arc;

use arrow_schema::DataType;
use tributary_shared::ids::{LineageId, Seq, StreamName};
use tributary_shared::wire::batch::{EVENT_TIME_COLUMN, EXTRA_COLUMN};

use super::messages::Deadline;
use super::table::{Chunk, Narrow, Scan, ScanError, Table};
use crate::commit::{CommitError, Committed, LogEntry, LogPos, LogReader};
use crate::view::{Column, ColumnType, Picked, Scalar};

/// The newest entries whose columns make the table: fields of older events that none of these has are read through
/// `_extra` only where the gateway put them there.
const ENTRIES_FOR_COLUMNS: u32 = 32;
/// Bytes of columns that are read from the log at once.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// What every event has, before its own fields.
const OF_EVERY_EVENT: [(&str, ColumnType); 6] = [
    ("_lineage_id", ColumnType::Text),
    ("_agent", ColumnType::Text),
    ("_epoch", ColumnType::Integer),
    ("_seq", ColumnType::Integer),
    ("_committed_at", ColumnType::Timestamp),
    (EVENT_TIME_COLUMN, ColumnType::Timestamp),
];

/// A stream's events.
#[derive(Debug)]
pub struct EventTable {
    log: LogReader,
    deadline: Arc<Deadline>,
    stream: StreamName,
    columns: Arc<[Column]>,
}

impl EventTable {
    /// Reads which columns there are.
    ///
    /// # Errors
    /// Those of the log.
    pub fn open(log: LogReader, stream: StreamName, deadline: Arc<Deadline>) -> Result<Self, CommitError> {
        let mut columns: Vec<Column> = OF_EVERY_EVENT
            .iter()
            .map(|(name, kind)| Column::new(*name, *kind))
            .collect();
        for pos in log.newest_of(&stream, ENTRIES_FOR_COLUMNS, READ_BYTES)? {
            // retention may have deleted it meanwhile
            let Some(entry) = log.entry(pos)? else { continue };
            let Some(records) = entry.decode()?.records else {
                continue;
            };
            for field in records.schema_ref().fields() {
                let kind = kind_of(field.data_type());
                match columns.iter_mut().find(|column| column.name == *field.name()) {
                    Some(known) if known.kind == kind => {}
                    // SQLite gives every value a type of its own
                    Some(known) => known.kind = common(known.kind, kind),
                    None => columns.push(Column::new(field.name(), kind)),
                }
            }
        }
        if !columns.iter().any(|column| column.name == EXTRA_COLUMN) {
            columns.push(Column::new(EXTRA_COLUMN, ColumnType::Text));
        }
        Ok(Self {
            log,
            deadline,
            stream,
            columns: columns.into(),
        })
    }
}

fn kind_of(of: &DataType) -> ColumnType {
    match of {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int64 => ColumnType::Integer,
        DataType::Float64 => ColumnType::Number,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        _ => ColumnType::Text,
    }
}

fn common(a: ColumnType, b: ColumnType) -> ColumnType {
    match (a, b) {
        (ColumnType::Integer | ColumnType::Number, ColumnType::Integer | ColumnType::Number) => {
            ColumnType::Number
        }
        _ => ColumnType::Any,
    }
}

impl Table for EventTable {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The log is in the order of commits, whatever times its events have.
    fn time_column(&self) -> Option<usize> {
        None
    }

    fn narrows_by(&self, _column: usize) -> bool {
        false
    }

    fn scan(&self, _narrow: Narrow) -> Box<dyn Scan> {
        Box::new(EventScan {
            log: self.log.clone(),
            deadline: Arc::clone(&self.deadline),
            stream: self.stream.clone(),
            columns: Arc::clone(&self.columns),
            read: Vec::new(),
            after: LogPos(0),
        })
    }
}

#[derive(Debug)]
struct EventScan {
    log: LogReader,
    deadline: Arc<Deadline>,
    stream: StreamName,
    columns: Arc<[Column]>,
    /// Read and not yet given, the next one last.
    read: Vec<LogEntry>,
    after: LogPos,
}

impl Scan for EventScan {
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, ScanError> {
        let failed = |error: CommitError| ScanError(error.to_string());
        if self.deadline.is_over() {
            return Err(ScanError("the time is up".to_owned()));
        }
        if self.read.is_empty() {
            let read = self
                .log
                .scan_stream(&self.stream, self.after, READ_BYTES)
                .map_err(failed)?;
            self.read = read;
            self.read.reverse();
        }
        let Some(entry) = self.read.pop() else {
            return Ok(None);
        };
        self.after = entry.pos;
        let committed = entry.decode().map_err(failed)?;
        Ok(Some(Box::new(Events::new(committed, &self.columns))))
    }
}

/// The events of one log entry.
#[derive(Debug)]
struct Events {
    entry: Committed,
    seqs: Vec<Seq>,
    fields: Picked,
}

impl Events {
    fn new(entry: Committed, columns: &[Column]) -> Self {
        let seqs = entry.header.valid_seqs();
        let fields = columns.iter().skip(OF_EVERY_EVENT.len() - 1);
        let records = entry.records.as_ref();
        // `scan_stream` gives entries with valid rows only, and those have columns
        let fields = records.map_or_else(Picked::none, |records| {
            Picked::bind(records, fields.map(|column| column.name.as_str()))
        });
        Self { entry, seqs, fields }
    }
}

impl Chunk for Events {
    fn rows(&self) -> usize {
        self.seqs.len()
    }

    fn value(&self, row: usize, column: usize) -> Scalar {
        let seq = self.seqs[row];
        let text = |text: &str| Scalar::Text(text.into());
        match column {
            0 => text(&LineageId::new(self.entry.header.lane(), seq).to_string()),
            1 => text(self.entry.key.agent.as_str()),
            2 => Scalar::Int(self.entry.key.epoch.0.cast_signed()),
            3 => Scalar::Int(seq.cast_signed()),
            4 => Scalar::Time(self.entry.committed_at),
            // the event time is the first of the fields
            field => self.fields.value(field + 1 - OF_EVERY_EVENT.len(), row),
        }
    }
}
