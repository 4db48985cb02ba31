//! The FROM clause: which stream or view a view reads, and how its events fall into windows.

use std::sync::Arc;

use sqlparser::ast::{
    Expr as Sql, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Select, TableFactor, Value,
};
use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::interval::parse_interval;
use super::messages::ViewError;
use super::parse::{at, function_name, not_in_views, place};
use super::window::{DAY, MAX_PANES, WindowKind, gcd};
use super::zone::Zone;

type Refused<T> = Result<T, ViewError>;

/// What a view reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Stream(StreamName),
    /// The windows of a view: this one is a roll-up.
    View(Arc<str>),
}

/// The FROM clause.
#[derive(Debug, Clone)]
pub(super) struct From {
    pub origin: Origin,
    pub time: Ident,
    pub window: WindowKind,
    pub place: (u64, u64),
}

/// A window function: its name, its arguments, and what they are called in messages.
struct Call<'a> {
    name: &'a ObjectName,
    args: &'a [FunctionArg],
}

const FROM_HINT: &str = "write FROM TUMBLE(stream, ts, INTERVAL '1 minute'), HOP(stream, ts, slide, size), \
                         SESSION(stream, ts, gap), or a stream alone";
/// The time of a view's rows.
const WINDOW_START: &str = "window_start";

/// Reads the FROM clause.
pub(super) fn from_clause(select: &Select) -> Refused<From> {
    let start = at(select.select_token.0.span);
    let [table] = select.from.as_slice() else {
        let found = select.from.get(1).map_or(start, place);
        return Err(ViewError::new(
            found,
            "a view reads exactly one stream",
            "FROM TUMBLE(stream, ts, INTERVAL '1 minute')",
        ));
    };
    if let Some(join) = table.joins.first() {
        return Err(not_in_views(place(join), "JOIN", "a view reads one stream"));
    }
    let TableFactor::Table {
        name,
        args,
        alias,
        sample,
        with_ordinality,
        ..
    } = &table.relation
    else {
        return Err(ViewError::new(
            place(&table.relation),
            "FROM must name a stream or a window function",
            FROM_HINT,
        ));
    };
    if alias.is_some() || sample.is_some() || *with_ordinality {
        return Err(not_in_views(
            place(&table.relation),
            "an alias or modifier in FROM",
            "remove it",
        ));
    }
    let Some(args) = args else {
        return running(name);
    };
    let call = Call {
        name,
        args: &args.args,
    };
    match function_name(name).as_str() {
        "tumble" => call.tumble(),
        "hop" => call.hop(),
        "session" => call.session(),
        _ => Err(ViewError::new(
            place(name),
            format!("there is no window function {name}"),
            FROM_HINT,
        )),
    }
}

/// Words that the parser would take for the name of a stream.
const RESERVED: [&str; 6] = ["select", "from", "where", "group", "having", "order"];

/// `FROM stream`: no windows.
fn running(name: &ObjectName) -> Refused<From> {
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return Err(ViewError::new(
            place(name),
            format!("{name} is not a stream"),
            "quote names with dots or dashes: \"plant-7.readings\"",
        ));
    };
    if ident.quote_style.is_none() && RESERVED.iter().any(|word| ident.value.eq_ignore_ascii_case(word)) {
        let message = format!("FROM must name a stream, and {ident} is a word of the language");
        return Err(ViewError::new(
            at(ident.span),
            message,
            format!("quote it: \"{ident}\""),
        ));
    }
    Ok(From {
        origin: Origin::Stream(stream(ident)?),
        time: Ident::new(EVENT_TIME_COLUMN),
        window: WindowKind::None,
        place: at(ident.span),
    })
}

impl Call<'_> {
    fn tumble(&self) -> Refused<From> {
        let (source, rest) = self.outline(&["size"], true)?;
        let size = rest.intervals[0];
        if let Some(zone) = &rest.zone {
            whole_days(size, zone)?;
        }
        let window = WindowKind::Tumble {
            size: size.length,
            zone: rest.zone.map(|zone| zone.zone),
        };
        Ok(source.with(window))
    }

    fn hop(&self) -> Refused<From> {
        let (source, rest) = self.outline(&["slide", "size"], true)?;
        let (slide, size) = (rest.intervals[0], rest.intervals[1]);
        if slide.length > size.length {
            return Err(ViewError::new(
                slide.place,
                "the slide is longer than the size, so that events between two windows would be in none",
                "the arguments are HOP(stream, ts, slide, size): the slide comes first",
            ));
        }
        let panes = size.length / gcd(slide.length, size.length);
        if panes > MAX_PANES {
            let message = format!("each window would be merged from {panes} panes, more than {MAX_PANES}");
            return Err(ViewError::new(
                slide.place,
                message,
                "a longer slide, or one that divides the size, needs fewer",
            ));
        }
        if let Some(zone) = &rest.zone {
            whole_days(slide, zone)?;
            whole_days(size, zone)?;
        }
        let window = WindowKind::Hop {
            slide: slide.length,
            size: size.length,
            zone: rest.zone.map(|zone| zone.zone),
        };
        Ok(source.with(window))
    }

    fn session(&self) -> Refused<From> {
        let (source, rest) = self.outline(&["gap"], false)?;
        let gap = rest.intervals[0].length;
        Ok(source.with(WindowKind::Session { gap }))
    }

    /// The arguments: a source, its time, intervals with these names, and perhaps a zone.
    fn outline(&self, names: &[&'static str], zoned: bool) -> Refused<(Read, Rest)> {
        let found = place(self.name);
        let least = 2 + names.len();
        let most = least + usize::from(zoned);
        if !(least..=most).contains(&self.args.len()) {
            let kind = function_name(self.name).to_uppercase();
            let zone = if zoned { "[, 'time zone']" } else { "" };
            let shape = format!("{kind}(stream, ts, {}{zone})", names.join(", "));
            let message = format!("{kind} has {least} arguments, here are {}", self.args.len());
            return Err(ViewError::new(found, message, format!("write {shape}")));
        }
        let source = identifier(&self.args[0], found, "the stream")?;
        let time = identifier(&self.args[1], found, "the time column")?;
        let mut intervals = Vec::new();
        for (name, arg) in names.iter().zip(&self.args[2..]) {
            intervals.push(interval(arg, found, name)?);
        }
        let zone = match self.args.get(least) {
            Some(arg) => Some(zone(arg, found)?),
            None => None,
        };
        let origin = if time.value.eq_ignore_ascii_case(WINDOW_START) {
            Origin::View(source.value.as_str().into())
        } else {
            Origin::Stream(stream(&source)?)
        };
        let read = Read {
            origin,
            time,
            place: at(source.span),
        };
        Ok((read, Rest { intervals, zone }))
    }
}

/// What is read, before it is known how.
struct Read {
    origin: Origin,
    time: Ident,
    place: (u64, u64),
}

impl Read {
    fn with(self, window: WindowKind) -> From {
        From {
            origin: self.origin,
            time: self.time,
            window,
            place: self.place,
        }
    }
}

/// The arguments behind the time column.
struct Rest {
    intervals: Vec<Interval>,
    zone: Option<Placed>,
}

#[derive(Clone, Copy)]
struct Interval {
    name: &'static str,
    length: Millis,
    place: (u64, u64),
}

struct Placed {
    zone: Zone,
    place: (u64, u64),
}

fn stream(ident: &Ident) -> Refused<StreamName> {
    StreamName::new(&ident.value).map_err(|error| {
        ViewError::new(
            at(ident.span),
            format!("{ident} is not a stream: {}", error.rule),
            "",
        )
    })
}

fn whole_days(interval: Interval, zone: &Placed) -> Refused<()> {
    if interval.length % DAY == 0 {
        return Ok(());
    }
    let message = format!(
        "a time zone needs windows of whole days, and the {} is none",
        interval.name
    );
    let hint = format!(
        "write INTERVAL '1 day', or leave {:?} away: shorter windows are the same in every zone",
        zone.zone.name()
    );
    Err(ViewError::new(zone.place, message, hint))
}

fn place_of(arg: &FunctionArg, fallback: (u64, u64)) -> (u64, u64) {
    match place(arg) {
        (0, _) => fallback,
        found => found,
    }
}

fn identifier(arg: &FunctionArg, fallback: (u64, u64), what: &str) -> Refused<Ident> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Identifier(ident))) => Ok(ident.clone()),
        _ => Err(ViewError::new(
            place_of(arg, fallback),
            format!("{what} must be a name"),
            "quote names with dots or dashes: \"plant-7.readings\"",
        )),
    }
}

fn interval(arg: &FunctionArg, fallback: (u64, u64), name: &'static str) -> Refused<Interval> {
    let found = place_of(arg, fallback);
    let hint = "write it like INTERVAL '1 minute'";
    let wrong = || ViewError::new(found, format!("the window's {name} must be an interval"), hint);
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Interval(interval))) = arg else {
        return Err(wrong());
    };
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return Err(wrong());
    }
    let Sql::Value(value) = interval.value.as_ref() else {
        return Err(wrong());
    };
    let (Value::SingleQuotedString(text) | Value::Number(text, _)) = &value.value else {
        return Err(wrong());
    };
    let unit = interval.leading_field.as_ref().map(ToString::to_string);
    let length =
        parse_interval(text, unit.as_deref()).map_err(|message| ViewError::new(found, message, hint))?;
    Ok(Interval {
        name,
        length,
        place: found,
    })
}

fn zone(arg: &FunctionArg, fallback: (u64, u64)) -> Refused<Placed> {
    let place = place_of(arg, fallback);
    let text = match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    let Some(text) = text else {
        let message = "the last argument must be the name of a time zone";
        return Err(ViewError::new(place, message, "write it like 'Europe/Berlin'"));
    };
    match Zone::find(text) {
        Ok(zone) => Ok(Placed { zone, place }),
        Err(near) => {
            let hint = match near.as_slice() {
                [] => "use an IANA name, like 'Europe/Berlin'".to_owned(),
                near => format!("did you mean '{}'?", near.join("', '")),
            };
            Err(ViewError::new(
                place,
                format!("there is no time zone '{text}'"),
                hint,
            ))
        }
    }
}
