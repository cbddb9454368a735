//! Kubernetes' Quantity as a number: digits, and a binary suffix, a decimal one or an exponent
//! (k8s.io/apimachinery, pkg/api/resource). The crate `kube_quantity` (0.9) does not do: it reads a suffix without digits
//! (`m`) as 0, and refuses `2E` and `1Ei`.

/// The number, as near as a float comes; nothing where the text is not a Quantity.
pub(super) fn number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // An exponent: 12e3 and 12E3, beside 12E, which is exa.
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).filter(|exponent| !exponent.is_empty() && *exponent != "i")
    {
        let exponent: i32 = exponent.parse().ok()?;
        return format!("{digits}e{exponent}").parse().ok();
    }
    // Read as one decimal number, so that 50m is what 0.05 is.
    let decimal = |exponent: i32| format!("{digits}e{exponent}").parse().ok();
    let binary = |power: i32| digits.parse::<f64>().ok().map(|number| number * 1024_f64.powi(power));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_read_as_kubernetes_reads_it() {
        let rows = [
            ("0", Some(0.0)),
            ("1", Some(1.0)),
            ("1000m", Some(1.0)),
            ("0.05", Some(0.05)),
            ("50m", Some(0.05)),
            ("5e-2", Some(0.05)),
            (".5", Some(0.5)),
            ("+3", Some(3.0)),
            ("-1", Some(-1.0)),
            ("12E2", Some(1200.0)),
            ("2E", Some(2e18)),
            ("2k", Some(2000.0)),
            ("1Ki", Some(1024.0)),
            ("1.5Mi", Some(1_572_864.0)),
            ("100n", Some(1e-7)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("10%", None),
            ("1-1", None),
            ("1e", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(number(text), wanted, "{text:?}");
        }
    }
}
