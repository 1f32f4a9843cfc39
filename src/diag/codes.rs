//! The diagnostic codes, numbered in ranges: `S1xx` syntax, `S2xx` names, types and shapes, `S3xx` verdicts and
//! plans, `S4xx` limits and data.

use std::fmt;

macro_rules! codes {
    ($($code:ident $meaning:literal)*) => {
        /// The number of a diagnostic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $code,)*
        }

        impl Code {
            /// All codes, ascending.
            pub const ALL: &'static [Code] = &[$(Code::$code,)*];

            /// The code as it is printed.
            pub fn name(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// What the code stands for.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$code => $meaning,)* }
            }
        }
    };
}

codes! {
    S101 "a character that no token starts with"
    S102 "a token that does not fit here"
    S103 "the file ends inside an item"
    S104 "a number that cannot be represented"
    S105 "nesting that is too deep"

    S201 "a name that is not declared"
    S202 "a name that is declared twice"
    S203 "a name that cannot serve as an index"
    S204 "an index that is not on the left"
    S205 "an index with two extents"
    S206 "an index without an extent"
    S207 "an access with the wrong number of indices"
    S208 "an access that may leave its tensor"
    S209 "a type that does not fit"
    S210 "a value that is used before its definition"
    S211 "a state without an update, or an update of something that is no state"
    S212 "a call with the wrong number of arguments"
    S213 "a function that calls itself"
    S214 "an expression that may not depend on a state"
    S215 "a function that only initialisers may use"
    S216 "an expression that must be an integer over dimensions"
    S217 "a forward and a reverse state that depend on each other"
    S218 "a delay that may be negative"
    S219 "an integer divisor that may be zero"
    S220 "a layer without an output or a state"
    S221 "a value that may leave the range of its index type"
    S222 "an initialiser that depends on more than parameters"
    S223 "an index on the left that is not a plain, distinct name"
    S224 "an implicit update that is not in an update"

    S301 "a plan that this layer does not allow"
    S302 "a part of the language that this version does not compile"
    S303 "an implicit update that has no closed form"

    S401 "a file that cannot be read or written"
    S402 "a file whose contents are damaged"
    S403 "a tensor that is missing"
    S404 "a tensor of the wrong shape"
    S405 "a tensor of the wrong element type"
    S406 "a value outside its range"
    S407 "a dimension without a value, or with two"
    S408 "a size beyond what can be run"
    S409 "an expectation that does not hold"
    S410 "a layer that cannot be chosen"
    S411 "a line of input that cannot be used"
    S412 "a requirement on dimensions that does not hold"
    S413 "the formatting of a file"
    S414 "an integer beyond 32 bits"
    S415 "data for which a result is not defined"
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
