mod fields;
mod head;
mod message;
mod payload;

pub(crate) use self::head::decode;
