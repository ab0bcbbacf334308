//! Postgres arrays in the form that goes on the wire, filled element by element: a batch is written once, where it is sent
//! from, and no element is an allocation of its own.
//!
//! Format: `array_recv` in Postgres's `arrayfuncs.c`: dimensions, a mark for nulls, the element's type; then length and
//! first index of the one dimension; then each element with its length before it, or -1 for null. All big-endian.

use std::marker::PhantomData;

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, Postgres};
use sqlx::{Type, TypeInfo as _};

/// An array of what Rust calls `T`.
#[derive(Debug, Clone)]
pub(super) struct WireArray<T> {
    elements: Vec<u8>,
    len: i32,
    nulls: bool,
    of: PhantomData<fn() -> T>,
}

/// -1 where an element's length would stand.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

impl<T> Default for WireArray<T> {
    fn default() -> WireArray<T> {
        WireArray {
            elements: Vec::new(),
            len: 0,
            nulls: false,
            of: PhantomData,
        }
    }
}

impl<T> WireArray<T> {
    /// Empty, with room for elements of so many bytes together.
    pub(super) fn with_room(bytes: usize) -> WireArray<T> {
        WireArray {
            elements: Vec::with_capacity(bytes),
            ..WireArray::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or_default()
    }

    /// What the elements take.
    pub(super) fn bytes(&self) -> usize {
        self.elements.len()
    }

    /// The elements, up to the first null.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.elements.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (element, behind) = behind.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
            rest = behind;
            Some(element)
        })
    }

    /// Adds an element whose bytes are known.
    pub(super) fn push(&mut self, element: &[u8]) {
        self.push_with(|out| out.extend_from_slice(element));
    }

    /// Adds an element, or null.
    pub(super) fn push_or_null(&mut self, element: Option<&[u8]>) {
        match element {
            Some(element) => self.push(element),
            None => {
                self.elements.extend_from_slice(&NULL);
                self.nulls = true;
                self.len += 1;
            }
        }
    }

    /// Adds an element that is written in place.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.elements.len();
        self.elements.extend_from_slice(&NULL);
        let begin = self.elements.len();
        write(&mut self.elements);
        let len = i32::try_from(self.elements.len() - begin).unwrap_or(i32::MAX);
        if let Some(place) = self.elements.get_mut(at..begin) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        self.len += 1;
    }
}

impl<T: PgHasArrayType> Type<Postgres> for WireArray<T> {
    fn type_info() -> PgTypeInfo {
        T::array_type_info()
    }
}

impl<T: Type<Postgres>> Encode<'_, Postgres> for WireArray<T> {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let element = T::type_info();
        let oid = element
            .oid()
            .ok_or_else(|| format!("{} has no number that all servers share", element.name()))?;
        for word in [1, i32::from(self.nulls)] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&oid.0.to_be_bytes());
        for word in [self.len, 1] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.elements);
        Ok(IsNull::No)
    }
}
