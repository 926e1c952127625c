//! Matching of text against glob patterns, in time proportional to the product of their lengths.
//!
//! <https://spec.matrix.org/v1.19/appendices/#glob-style-matching>

/// A pattern; matching ignores case.
pub(crate) struct Pattern(Vec<Token>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyCharacter,
    AnySequence,
}

impl Pattern {
    /// A pattern with `*` for any sequence of characters and `?` for any one.
    pub(crate) fn glob(pattern: &str) -> Self {
        let token = |character| match character {
            '*' => Token::AnySequence,
            '?' => Token::AnyCharacter,
            literal => Token::Literal(literal),
        };
        Self(lower_case(pattern).map(token).collect())
    }

    /// A pattern for exactly this text.
    pub(super) fn literal(text: &str) -> Self {
        Self(lower_case(text).map(Token::Literal).collect())
    }

    /// Whether the whole text fits.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut run = Run::new(&self.0);
        run.begin();
        for character in lower_case(text) {
            run.step(character);
        }
        run.is_complete()
    }

    /// Whether a part of the text fits that starts and ends at a word boundary.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#conditions-1> (`event_match`)
    pub(super) fn matches_words(&self, text: &str) -> bool {
        let characters: Vec<char> = lower_case(text).collect();
        let mut run = Run::new(&self.0);
        let mut before = None;
        for after in characters.into_iter().map(Some).chain([None]) {
            let at_boundary = !(before.is_some_and(is_word) && after.is_some_and(is_word));
            if at_boundary {
                run.begin();
                if run.is_complete() {
                    return true;
                }
            }
            if let Some(character) = after {
                run.step(character);
            }
            before = after;
        }
        false
    }
}

pub(super) fn lower_case(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// All the ways in which a text can have been matched so far: for each token, whether it comes next in one of them.
struct Run<'a> {
    tokens: &'a [Token],
    reached: Vec<bool>,
    complete: bool,
}

impl<'a> Run<'a> {
    fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, reached: vec![false; tokens.len()], complete: false }
    }

    /// Lets a match begin here.
    fn begin(&mut self) {
        match self.reached.first_mut() {
            Some(first) => *first = true,
            None => self.complete = true,
        }
        self.skip_empty_sequences();
    }

    fn step(&mut self, character: char) {
        let mut arriving = false;
        for (reached, token) in self.reached.iter_mut().zip(self.tokens) {
            let (stays, goes_on) = match token {
                Token::Literal(literal) => (false, *reached && *literal == character),
                Token::AnyCharacter => (false, *reached),
                Token::AnySequence => (*reached, false),
            };
            *reached = stays || arriving;
            arriving = goes_on;
        }
        self.complete = arriving;
        self.skip_empty_sequences();
    }

    fn skip_empty_sequences(&mut self) {
        let mut skipping = false;
        for (reached, token) in self.reached.iter_mut().zip(self.tokens) {
            *reached |= skipping;
            skipping = *reached && *token == Token::AnySequence;
        }
        self.complete |= skipping;
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_text_fits_or_not() {
        for (pattern, text, expected) in [
            ("lunc?*", "Lunch plans", true),
            ("lunc?*", "LUNCH", true),
            ("lunc?*", " lunch", false),
            ("lunc?*", "lunc", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ÄRGER", "ärger", true),
        ] {
            assert_eq!(Pattern::glob(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn words_fit_between_boundaries() {
        for (pattern, text, expected) in [
            ("ex*ple", "An example event.", true),
            ("ex*ple", "exple", true),
            ("ex*ple", "An exciting triple-whammy", true),
            ("ex*ple", "An exciting tripled whammy", false),
            ("ex*ple", "complex example", true),
            ("cake", "cakes", false),
            ("cake", "a cake!", true),
            ("cake", "a_cake", false),
            ("cake", "Käsecake", false),
            ("@room", "hey @room", true),
            ("tea", "it's time for tea", true),
        ] {
            assert_eq!(Pattern::glob(pattern).matches_words(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_literal_has_no_wildcards() {
        assert!(Pattern::literal("a*").matches_words("an a* here"));
        assert!(!Pattern::literal("a*").matches_words("an abc here"));
    }

    /// What a pattern means, said plainly and slowly.
    fn plainly(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some(('*', rest)), _) => (0..=text.len()).any(|skipped| plainly(rest, &text[skipped..])),
            (Some(('?', rest)), Some((_, text))) => plainly(rest, text),
            (Some((literal, rest)), Some((character, text))) => literal == character && plainly(rest, text),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_as_plainly_said(pattern in "[ab*?]{0,6}", text in "[ab]{0,8}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::glob(&pattern).matches(&text), plainly(&characters(&pattern), &characters(&text)));
        }

        #[test]
        fn words_match_as_plainly_said(pattern in "[ab*? ]{0,4}", text in "[ab -]{0,8}") {
            let (tokens, text_chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let boundary = |at: usize| !(at > 0 && at < text_chars.len() && is_word(text_chars[at - 1]) && is_word(text_chars[at]));
            let boundaries: Vec<usize> = (0..=text_chars.len()).filter(|at| boundary(*at)).collect();
            let expected = boundaries.iter().any(|from| {
                boundaries.iter().any(|to| from <= to && plainly(&tokens, &text_chars[*from..*to]))
            });
            prop_assert_eq!(Pattern::glob(&pattern).matches_words(&text), expected);
        }
    }
}
