//! Encodes composite values: arrays, maps, tuples and documents.
//! It appends the values of a JSON array or object in order, and a document verbatim. It rejects a duplicate key or
//! member, since no reader of the row could tell which one was meant.

use super::json::{Cursor, Kind, Span, slice};
use super::number;
use super::reason::Reason;
use super::value::{Encoder, characters, unescaped};
use crate::clickhouse::row_binary::push_length;
use crate::clickhouse::types::Type;

impl Encoder<'_> {
    /// Appends a count, then the elements.
    pub(super) fn array(&mut self, span: Span, column_type: &Type) -> Result<(), Reason> {
        if span.kind != Kind::Array {
            return Err(Reason::WrongType);
        }
        let (at, mut count) = (self.begin_count(), 0);
        Cursor::within(self.text, span).array(|cursor| {
            count += 1;
            self.value(cursor.value()?, column_type)?;
            self.check_length()
        })?;
        self.end_count(at, count);
        Ok(())
    }

    /// Appends a count, then alternating keys and values, from an object.
    pub(super) fn map(&mut self, span: Span, key_type: &Type, value_type: &Type) -> Result<(), Reason> {
        if span.kind != Kind::Object {
            return Err(Reason::WrongType);
        }
        let (at, first_key) = (self.begin_count(), self.scratch.keys.len());
        Cursor::within(self.text, span).object(|cursor| {
            let start = self.row.len();
            self.map_key(cursor.key()?, key_type)?;
            self.scratch.keys.push(start..self.row.len());
            self.value(cursor.value()?, value_type)?;
            self.check_length()
        })?;
        let count = self.scratch.keys.len() - first_key;
        self.check_keys(first_key)?;
        self.end_count(at, count);
        Ok(())
    }

    fn map_key(&mut self, key: Span, column_type: &Type) -> Result<(), Reason> {
        let (Type::Signed(width) | Type::Unsigned(width)) = column_type else { return self.value(key, column_type) };
        let text = characters(self.text, key)?;
        if !number::is_integer(&text) {
            return Err(Reason::WrongType);
        }
        let append = if matches!(column_type, Type::Signed(_)) { number::signed } else { number::unsigned };
        append(&text, *width, self.row)
    }

    /// Rejects a map with two keys of equal encoding, and clears the keys.
    fn check_keys(&mut self, first_key: usize) -> Result<(), Reason> {
        let (row, keys) = (&self.row, &mut self.scratch.keys[first_key..]);
        keys.sort_unstable_by(|a, b| row[a.clone()].cmp(&row[b.clone()]));
        let has_duplicate = keys.windows(2).any(|pair| row[pair[0].clone()] == row[pair[1].clone()]);
        self.scratch.keys.truncate(first_key);
        if has_duplicate { Err(Reason::DuplicateField) } else { Ok(()) }
    }

    /// Appends the elements in order, from an object with their names or from an array of the same length.
    pub(super) fn tuple(&mut self, span: Span, elements: &[(String, Type)]) -> Result<(), Reason> {
        let first = self.scratch.members.len();
        match span.kind {
            Kind::Array => self.list(span)?,
            Kind::Object if elements.iter().all(|(name, _)| !name.is_empty()) => self.members(span, elements)?,
            _ => return Err(Reason::WrongType),
        };
        if self.scratch.members.len() - first != elements.len() {
            return Err(Reason::WrongType);
        }
        for (index, (_, column_type)) in (first..).zip(elements) {
            self.optional_value(self.scratch.members[index], column_type)?;
        }
        self.scratch.members.truncate(first);
        Ok(())
    }

    /// Finds the elements of an array.
    fn list(&mut self, span: Span) -> Result<Span, Reason> {
        Cursor::within(self.text, span).array(|cursor| {
            self.scratch.members.push(Some(cursor.value()?));
            Ok(())
        })
    }

    /// Finds the members of an object that a tuple names; others are skipped.
    fn members(&mut self, span: Span, elements: &[(String, Type)]) -> Result<Span, Reason> {
        let (text, members) = (self.text, &mut self.scratch.members);
        let first = members.len();
        members.resize(first + elements.len(), None);
        Cursor::within(text, span).object(|cursor| {
            let key = unescaped(text, cursor.key()?, &mut self.scratch.text)?;
            let index = elements.iter().position(|(name, _)| name.as_bytes() == key);
            let value = cursor.value()?;
            match index {
                Some(index) if members[first + index].replace(value).is_some() => Err(Reason::DuplicateField),
                _ => Ok(()),
            }
        })
    }

    /// Appends an object verbatim. Rejects values that ClickHouse would refuse or change while parsing it.
    pub(super) fn document(&mut self, span: Span) -> Result<(), Reason> {
        if span.kind != Kind::Object {
            return Err(Reason::WrongType);
        }
        self.check(&mut Cursor::within(self.text, span))?;
        self.string(span)
    }

    /// Checks the numbers, strings and keys of the value at the cursor.
    fn check(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Reason> {
        match cursor.peek()? {
            b'{' => {
                // The keys are kept in the row while their object is read.
                let (start, first_key) = (self.row.len(), self.scratch.keys.len());
                cursor.object(|cursor| {
                    let key = cursor.key()?;
                    let at = self.row.len();
                    self.row.extend_from_slice(unescaped(self.text, key, &mut self.scratch.text)?);
                    self.scratch.keys.push(at..self.row.len());
                    self.check(cursor)
                })?;
                self.check_keys(first_key)?;
                self.row.truncate(start);
            }
            b'[' => drop(cursor.array(|cursor| self.check(cursor))?),
            _ => {
                let value = cursor.value()?;
                match value.kind {
                    Kind::Number => number::check(slice(self.text, value))?,
                    Kind::Escaped => drop(unescaped(self.text, value, &mut self.scratch.text)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Reserves space for a count that is not yet known.
    fn begin_count(&mut self) -> usize {
        self.row.push(0);
        self.row.len() - 1
    }

    /// Writes the count into the reserved space; the following bytes move if it needs more than one.
    fn end_count(&mut self, at: usize, count: usize) {
        let length = &mut self.scratch.text;
        length.clear();
        push_length(count, length);
        self.row.splice(at..=at, length.iter().copied());
    }

    /// Rejects a row that is disproportionately larger than its record: many short values of wide types.
    pub(super) fn check_length(&self) -> Result<(), Reason> {
        if self.row.len() > self.max_row_length { Err(Reason::RecordTooLarge) } else { Ok(()) }
    }
}
