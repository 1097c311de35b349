//! Person names folded for matching: case does not count (PS3.4 C.2.2.2.1.1), nor do empty trailing components
//! (PS3.5 6.2.1), and each of the three component groups can be asked for alone.

/// `Wang^XiaoDong=王^小东^` as `=wang^xiaodong=王^小东=`: every group stands between two equals signs.
pub(crate) fn folded(name: &str) -> String {
    let mut folded = String::with_capacity(name.len().saturating_add(2));
    for group in groups(name) {
        folded.push('=');
        folded.push_str(&group);
    }
    folded.push('=');
    folded
}

/// The component groups, in lower case, without empty trailing components. Groups at the end that are empty go.
pub(crate) fn groups(name: &str) -> Vec<String> {
    let mut groups: Vec<String> = name.split('=').map(fold_group).collect();
    while groups.last().is_some_and(String::is_empty) {
        groups.pop();
    }
    groups
}

fn fold_group(group: &str) -> String {
    let components: Vec<&str> = group.split('^').map(str::trim).collect();
    components.join("^").trim_end_matches('^').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_between_equals_signs() {
        assert_eq!(folded("Wang^XiaoDong=王^小东^^ "), "=wang^xiaodong=王^小东=");
        assert_eq!(folded("=王^小东"), "==王^小东=");
        assert_eq!(folded("MÜLLER^^"), "=müller=");
        assert_eq!(folded(""), "=");
    }
}
