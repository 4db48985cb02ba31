//! Functions of numbers. What is no number gives NULL; what has no finite result is NULL and counted.

use super::scalar::Scalar;

type Result = Option<Scalar>;

/// NULL, because an argument has the wrong type.
const MISFIT: Result = Some(Scalar::Null);

fn float(args: &[Scalar], map: fn(f64) -> f64) -> Result {
    match args[0].as_f64() {
        Some(value) => Scalar::finite(map(value)),
        None => MISFIT,
    }
}

fn floats(args: &[Scalar], map: fn(f64, f64) -> f64) -> Result {
    match (args[0].as_f64(), args[1].as_f64()) {
        (Some(a), Some(b)) => Scalar::finite(map(a, b)),
        _ => MISFIT,
    }
}

/// An integer is whole already.
fn whole(args: &[Scalar], round: fn(f64) -> f64) -> Result {
    match args[0] {
        Scalar::Int(value) => Some(Scalar::Int(value)),
        _ => float(args, round),
    }
}

pub(super) fn abs(args: &[Scalar]) -> Result {
    match args[0] {
        Scalar::Int(value) => value.checked_abs().map(Scalar::Int),
        _ => float(args, f64::abs),
    }
}

pub(super) fn ceil(args: &[Scalar]) -> Result {
    whole(args, f64::ceil)
}

pub(super) fn floor(args: &[Scalar]) -> Result {
    whole(args, f64::floor)
}

/// Halves go away from zero, as PostgreSQL's numerics do.
pub(super) fn round(args: &[Scalar]) -> Result {
    match args {
        [_] => whole(args, f64::round),
        _ => to_digits(args, f64::round),
    }
}

pub(super) fn trunc(args: &[Scalar]) -> Result {
    match args {
        [_] => whole(args, f64::trunc),
        _ => to_digits(args, f64::trunc),
    }
}

/// More digits than a float has change nothing.
fn to_digits(args: &[Scalar], round: fn(f64) -> f64) -> Result {
    match (&args[0], &args[1]) {
        (Scalar::Int(value), Scalar::Int(digits)) if *digits >= 0 => Some(Scalar::Int(*value)),
        (value, Scalar::Int(digits)) => {
            let Some(value) = value.as_f64() else {
                return MISFIT;
            };
            let factor = 10f64.powi((*digits).clamp(-308, 308) as i32);
            let scaled = round(value * factor) / factor;
            Scalar::finite(if scaled.is_finite() { scaled } else { value })
        }
        _ => MISFIT,
    }
}

pub(super) fn sign(args: &[Scalar]) -> Result {
    float(args, |value| if value == 0.0 { 0.0 } else { value.signum() })
}

pub(super) fn sqrt(args: &[Scalar]) -> Result {
    float(args, f64::sqrt)
}

pub(super) fn cbrt(args: &[Scalar]) -> Result {
    float(args, f64::cbrt)
}

pub(super) fn power(args: &[Scalar]) -> Result {
    floats(args, f64::powf)
}

pub(super) fn exp(args: &[Scalar]) -> Result {
    float(args, f64::exp)
}

pub(super) fn ln(args: &[Scalar]) -> Result {
    float(args, f64::ln)
}

/// Of base 10, or of the first argument.
pub(super) fn log(args: &[Scalar]) -> Result {
    match args {
        [_] => float(args, f64::log10),
        _ => floats(args, |base, value| value.ln() / base.ln()),
    }
}

pub(super) fn log10(args: &[Scalar]) -> Result {
    float(args, f64::log10)
}

/// The whole part of a quotient.
pub(super) fn div(args: &[Scalar]) -> Result {
    floats(args, |a, b| (a / b).trunc())
}

/// Which of `n` equal parts between two bounds a number lies in: 1 to n, 0 before and n + 1 behind them.
pub(super) fn width_bucket(args: &[Scalar]) -> Result {
    let [value, low, high, Scalar::Int(n)] = args else {
        return MISFIT;
    };
    let (Some(value), Some(low), Some(high)) = (value.as_f64(), low.as_f64(), high.as_f64()) else {
        return MISFIT;
    };
    if *n < 1 || *n > i64::from(i32::MAX) || low == high {
        return None;
    }
    let share = (value - low) / (high - low);
    let bucket = if share < 0.0 {
        0
    } else if share >= 1.0 {
        n + 1
    } else {
        (share * *n as f64) as i64 + 1
    };
    Some(Scalar::Int(bucket))
}

pub(super) fn pi(_: &[Scalar]) -> Result {
    Scalar::finite(std::f64::consts::PI)
}

pub(super) fn degrees(args: &[Scalar]) -> Result {
    float(args, f64::to_degrees)
}

pub(super) fn radians(args: &[Scalar]) -> Result {
    float(args, f64::to_radians)
}

pub(super) fn sin(args: &[Scalar]) -> Result {
    float(args, f64::sin)
}

pub(super) fn cos(args: &[Scalar]) -> Result {
    float(args, f64::cos)
}

pub(super) fn tan(args: &[Scalar]) -> Result {
    float(args, f64::tan)
}

pub(super) fn asin(args: &[Scalar]) -> Result {
    float(args, f64::asin)
}

pub(super) fn acos(args: &[Scalar]) -> Result {
    float(args, f64::acos)
}

pub(super) fn atan(args: &[Scalar]) -> Result {
    float(args, f64::atan)
}

pub(super) fn atan2(args: &[Scalar]) -> Result {
    floats(args, f64::atan2)
}

/// Integers, also where they came as floats, as without a schema they may.
fn ints(args: &[Scalar], map: fn(i64, i64) -> i64) -> Result {
    match (args[0].clone().normalised(), args[1].clone().normalised()) {
        (Scalar::Int(a), Scalar::Int(b)) => Some(Scalar::Int(map(a, b))),
        _ => MISFIT,
    }
}

pub(super) fn bit_and(args: &[Scalar]) -> Result {
    ints(args, |a, b| a & b)
}

pub(super) fn bit_or(args: &[Scalar]) -> Result {
    ints(args, |a, b| a | b)
}

pub(super) fn bit_xor(args: &[Scalar]) -> Result {
    ints(args, |a, b| a ^ b)
}

/// By the distance's lowest six bits, as PostgreSQL's bigint.
pub(super) fn shift_left(args: &[Scalar]) -> Result {
    ints(args, |a, b| a.wrapping_shl(b as u32))
}

pub(super) fn shift_right(args: &[Scalar]) -> Result {
    ints(args, |a, b| a.wrapping_shr(b as u32))
}
