//! "Did you mean …".

/// The candidate that `text` was most likely meant to be, if one is near enough.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let best = candidates.into_iter().map(|candidate| (distance(candidate), candidate)).min_by_key(|(d, _)| *d)?;
    // A third of the letters may be wrong; a word of two letters needs the right one of them.
    let allowed = (text.chars().count().max(best.1.chars().count()) / 3).clamp(1, 4);
    (best.0 <= allowed).then_some(best.1)
}

/// "did you mean `x`?", or the list of what there is.
pub(crate) fn hint<'a>(text: &str, what: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    const LISTED_MAX: usize = 20;
    if let Some(found) = nearest(text, candidates.clone()) {
        return format!("did you mean `{found}`?");
    }
    let all: Vec<String> = candidates.into_iter().map(|candidate| format!("`{candidate}`")).collect();
    match all.len() {
        0 => format!("there are no {what}"),
        n if n > LISTED_MAX => format!("{what}: {}, and {} more", all[..LISTED_MAX].join(", "), n - LISTED_MAX),
        _ => format!("{what}: {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["to", "from", "location", "parent"];
        assert_eq!(nearest("lcoation", keys), Some("location"));
        assert_eq!(nearest("FROM", keys), Some("from"));
        assert_eq!(nearest("too", keys), Some("to"));
        assert_eq!(nearest("bandwidth", keys), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn a_hint_lists_what_there_is_when_nothing_is_near() {
        assert_eq!(hint("x", "known regions", ["one", "two"]), "known regions: `one`, `two`");
        assert_eq!(hint("x", "known regions", []), "there are no known regions");
    }
}
