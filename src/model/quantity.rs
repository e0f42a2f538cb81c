//! Quantities as people write them: durations and sizes.

/// The longest duration: beyond it clocks overflow, and nobody waits.
const DURATION_MAX_SECS: u64 = 3650 * 86_400;

/// Reads a duration such as `30s`, `5m`, `24h`, `7d`, `1h30m`; returns seconds.
///
/// # Errors
/// A clause that says what was expected.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let error = || format!("`{text}` is not a duration (write `30s`, `5m`, `24h`, `7d`)");
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.find(|byte: char| !byte.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let (unit, factor) = units
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))
            .ok_or_else(error)?;
        rest = &rest[unit.len()..];
        seconds = number
            .checked_mul(factor)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(error)?;
    }
    match seconds <= DURATION_MAX_SECS {
        true => Ok(seconds),
        false => Err(format!("`{text}` is longer than ten years")),
    }
}

/// Reads a size such as `512MiB`, `4GB`, `10KiB` or a number of bytes; returns bytes.
///
/// `KB`, `MB` … are powers of 1000, `KiB`, `MiB` … of 1024.
///
/// # Errors
/// A clause that says what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a size (write `512MiB`, `4GB` or a number of bytes)");
    let trimmed = text.trim();
    let digits = trimmed
        .find(|byte: char| !byte.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let number: u64 = trimmed[..digits].parse().map_err(|_| error())?;
    let factor: u64 = match trimmed[digits..].trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(error()),
    };
    number.checked_mul(factor).ok_or_else(error)
}

/// Writes a size in the largest binary unit that says it whole.
pub fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .into_iter()
        .find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(
        || format!("{bytes} bytes"),
        |(shift, unit)| format!("{} {unit}", bytes >> shift),
    )
}

/// Writes a size of which -1 has no bound.
pub fn bound(size: i64) -> String {
    u64::try_from(size).map_or_else(|_| "no bound".to_owned(), bytes)
}

/// Writes processors, given in billionths.
pub fn cpus(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes a duration in the largest unit that says it whole.
pub fn nanos(nanos: u64) -> String {
    match (nanos % 1_000_000_000, nanos % 1_000_000) {
        (0, _) => format!("{}s", nanos / 1_000_000_000),
        (_, 0) => format!("{}ms", nanos / 1_000_000),
        _ => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_and_need_units() {
        assert_eq!(parse_duration("1h30m"), Ok(5400));
        assert_eq!(parse_duration("7d"), Ok(604_800));
        for bad in ["", "30", "m", "5x", "99999999999999999999s", "-5s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(parse_size("512MiB"), Ok(536_870_912));
        assert_eq!(parse_size("4GB"), Ok(4_000_000_000));
        assert_eq!(parse_size("17"), Ok(17));
        for bad in ["", "GB", "4XB", "99999999999TB", "-1"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
