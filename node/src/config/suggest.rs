//! Suggestions for misspelt words.

/// Returns the word in `known` with the smallest edit distance (insertion, deletion, replacement,
/// swap of neighbours), if at most a third of the characters differ.
pub(crate) fn nearest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let unknown: Vec<char> = unknown.to_ascii_lowercase().chars().take(64).collect();
    let most = (unknown.len() / 3).max(1);
    known
        .into_iter()
        .map(|word| (edits(&unknown, &word.chars().collect::<Vec<_>>()), word))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, word)| word)
}

/// Returns the optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["listen", "bootstrap", "bootstrap_pks", "item_ttl"];

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("lisetn", KNOWN), Some("listen"));
        assert_eq!(nearest("Bootstrap_PK", KNOWN), Some("bootstrap_pks"));
        assert_eq!(nearest("item-ttl", KNOWN), Some("item_ttl"));
        assert_eq!(nearest("colour", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(edits(&chars("ab"), &chars("ba")), 1);
        assert_eq!(edits(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(edits(&chars(""), &chars("abc")), 3);
    }
}
