//! Quantities as Kubernetes writes them: `4`, `3920m`, `16393244Ki`, `1e3`.

/// The number in plain units, or nothing if it is none.
pub(super) fn quantity(text: &str) -> Option<f64> {
    // A number may end in an exponent, which is no suffix.
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let (_, factor) = FACTORS.into_iter().find(|(suffix, _)| *suffix == &text[digits.len()..])?;
    digits.parse().ok().map(|number: f64| number * factor)
}

const FACTORS: [(&str, f64); 15] = [
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_quantity_is_understood() {
        let cases =
            [("4", 4.0), ("3920m", 3.92), ("2Ki", 2048.0), ("1.5Gi", 1_610_612_736.0), ("1e3", 1000.0), ("2M", 2e6)];
        for (text, number) in cases {
            assert!((quantity(text).unwrap() - number).abs() < 1e-9, "{text}");
        }
        for text in ["", "x", "4Xi", "Ki"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }
}
