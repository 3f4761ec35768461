use std::any::Any;

/// What a panic said, for a log.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown cause")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_whether_it_was_put_together_or_not() {
        for (panic, text) in [
            (Box::new("a text") as Box<dyn Any + Send>, "a text"),
            (Box::new("a text".to_owned()), "a text"),
            (Box::new(7), "unknown cause"),
        ] {
            assert_eq!(panic_text(&*panic), text);
        }
    }
}
