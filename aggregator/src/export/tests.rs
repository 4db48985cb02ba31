//! Sheets written and read back.

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use bytes::Bytes;

use super::*;
use crate::view::{Column, ColumnType, Scalar};

const NOON: i64 = 1_769_860_800_000;

fn column(name: &str, kind: ColumnType) -> Column {
    Column::new(name, kind)
}

fn written(sheet: Sheet, format: Format) -> Vec<u8> {
    let pieces = sheet.pieces(format).expect("columns").expect("no JSON");
    pieces.flat_map(|piece| piece.expect("encodes")).collect()
}

#[test]
fn csv_tells_null_from_the_empty_text_and_quotes_what_needs_it() {
    let sheet = Sheet {
        columns: vec![
            column("a \"b\"", ColumnType::Text),
            column("n", ColumnType::Number),
            column("at", ColumnType::Timestamp),
            column("ok", ColumnType::Boolean),
        ],
        rows: vec![
            vec![
                "x,y".into(),
                Scalar::Float(2.0),
                Scalar::Time(NOON),
                Scalar::Bool(true),
            ],
            vec!["two\nlines".into(), Scalar::Int(-3), Scalar::Null, Scalar::Null],
            vec!["".into(), Scalar::Float(1e300), Scalar::Null, Scalar::Null],
            vec![Scalar::Null, Scalar::Null, Scalar::Null, Scalar::Null],
            vec![
                "say \"hi\"".into(),
                Scalar::Float(0.1),
                Scalar::Null,
                Scalar::Null,
            ],
        ],
    };
    assert_eq!(
        String::from_utf8(written(sheet, Format::Csv)).expect("text"),
        "\"a \"\"b\"\"\",n,at,ok\r\n\
         \"x,y\",2.0,2026-01-31T12:00:00.000Z,true\r\n\
         \"two\nlines\",-3,,\r\n\
         \"\",1e300,,\r\n\
         ,,,\r\n\
         \"say \"\"hi\"\"\",0.1,,\r\n"
    );
}

#[test]
fn parquet_has_the_types_of_the_values_and_nulls_over_several_row_groups() {
    let rows = 20_000;
    let sheet = Sheet {
        columns: vec![
            column("window_start", ColumnType::Timestamp),
            column("site", ColumnType::Text),
            column("n", ColumnType::Integer),
            column("widened", ColumnType::Integer),
            column("mixed", ColumnType::Any),
            column("n", ColumnType::Boolean),
            column("nothing", ColumnType::Any),
        ],
        rows: (0..rows)
            .map(|row: i64| {
                vec![
                    Scalar::Time(NOON + row),
                    if row % 3 == 0 { Scalar::Null } else { "a".into() },
                    Scalar::Int(row),
                    if row == 15_000 {
                        Scalar::Float(0.5)
                    } else {
                        Scalar::Int(row)
                    },
                    if row == 7 { "text".into() } else { Scalar::Int(row) },
                    Scalar::Bool(row == 1),
                    Scalar::Null,
                ]
            })
            .collect(),
    };
    let bytes = Bytes::from(written(sheet, Format::Parquet));
    let reader = SerializedFileReader::new(bytes).expect("a Parquet file");
    let schema = reader.metadata().file_metadata().schema_descr();
    let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    assert_eq!(
        names,
        ["window_start", "site", "n", "widened", "mixed", "n_2", "nothing"]
    );
    assert_eq!(
        schema.column(0).logical_type_ref(),
        Some(&LogicalType::timestamp(true, TimeUnit::MILLIS))
    );
    assert!(reader.num_row_groups() > 1);
    let mut read = 0;
    for (number, row) in reader.get_row_iter(None).expect("rows").enumerate() {
        let row = row.expect("a row");
        let fields: Vec<Field> = row.get_column_iter().map(|(_, field)| field.clone()).collect();
        let number = i64::try_from(number).expect("small");
        assert_eq!(fields[0], Field::TimestampMillis(NOON + number));
        let site = if number % 3 == 0 {
            Field::Null
        } else {
            Field::Str("a".to_owned())
        };
        assert_eq!(fields[1], site);
        assert_eq!(fields[2], Field::Long(number));
        let widened = if number == 15_000 { 0.5 } else { number as f64 };
        assert_eq!(fields[3], Field::Double(widened));
        let mixed = if number == 7 {
            "text".to_owned()
        } else {
            number.to_string()
        };
        assert_eq!(fields[4], Field::Str(mixed));
        assert_eq!(fields[5], Field::Bool(number == 1));
        assert_eq!(fields[6], Field::Null);
        read += 1;
    }
    assert_eq!(read, rows);
}

#[test]
fn an_answer_without_rows_is_still_a_table() {
    let sheet = Sheet {
        columns: vec![column("n", ColumnType::Integer)],
        rows: Vec::new(),
    };
    assert_eq!(written(sheet.clone(), Format::Csv), b"n\r\n");
    let bytes = Bytes::from(written(sheet, Format::Parquet));
    let reader = SerializedFileReader::new(bytes).expect("a Parquet file");
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
}
