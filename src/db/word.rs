//! Types that are kept as one of a few words.

/// Lets the database read and write a type by its `code` and `parse`.
macro_rules! word {
    ($type:ty) => {
        impl mysql_async::prelude::FromValue for $type {
            type Intermediate = $type;
        }

        impl TryFrom<mysql_async::Value> for $type {
            type Error = mysql_async::FromValueError;

            fn try_from(value: mysql_async::Value) -> Result<$type, mysql_async::FromValueError> {
                let word = match &value {
                    mysql_async::Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
                    _ => None,
                };
                word.and_then(<$type>::parse)
                    .ok_or(mysql_async::FromValueError(value))
            }
        }

        impl From<$type> for mysql_async::Value {
            fn from(word: $type) -> mysql_async::Value {
                word.code().into()
            }
        }
    };
}

pub(crate) use word;
