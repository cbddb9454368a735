//! Numbers as Kubernetes' resource.Quantity, in its canonical form.

/// A number from 0 on as whole units (`7`) or, with a fraction, as thousandths (`1500m`), which is all that the HPA
/// counts in. Nothing where the number is negative or none at all.
pub fn quantity(number: f64) -> Option<String> {
    /// The largest that a Quantity holds in an int64, and the largest of which the thousandths fit too.
    const LARGEST: f64 = 9_223_372_036_854_775_807.0;
    const LARGEST_IN_THOUSANDTHS: f64 = LARGEST / 1000.0;

    if !number.is_finite() || number < 0.0 {
        return None;
    }
    if number >= LARGEST_IN_THOUSANDTHS {
        // A cast saturates: what is beyond an int64 is served as its largest.
        return Some((number as i64).to_string());
    }
    let thousandths = (number * 1000.0).round() as i64;
    Some(if thousandths % 1000 == 0 { (thousandths / 1000).to_string() } else { format!("{thousandths}m") })
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn whole_numbers_are_written_as_they_are_and_fractions_in_thousandths() {
        let rows: [(f64, Option<&str>); 16] = [
            (0.0, Some("0")),
            (-0.0, Some("0")),
            (7.0, Some("7")),
            (1.5, Some("1500m")),
            (0.001, Some("1m")),
            (0.0004, Some("0")),
            (2.000_000_000_1, Some("2")),
            (10.999_9, Some("11")),
            (1e6, Some("1000000")),
            (123_456.789, Some("123456789m")),
            (1e17, Some("100000000000000000")),
            (1e300, Some("9223372036854775807")),
            (-1.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (f64::NEG_INFINITY, None),
        ];
        for (number, expected) in rows {
            assert_eq!(quantity(number).as_deref(), expected, "{number}");
        }
    }
}
