//! Rows as text, byte by byte as a processor likes it: digits are made in a register and stored in one go. To write them into
//! a buffer first and copy from there costs more than to make them, since the copy waits for the small stores before it.

/// Room for all that a row has beside the texts of its series: an id, a number, a value and an instant are 20, 10, 24 and 26
/// bytes at the most, with their separators; and for stores that are larger than what they are for.
const ROOM: usize = 128;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// A row that is being appended to a text.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
}

impl<'a> Line<'a> {
    #[inline]
    pub(super) fn at_end(out: &'a mut Vec<u8>) -> Self {
        let end = out.len();
        out.resize(end + ROOM, 0);
        Self { out, end }
    }

    /// The row is complete.
    #[inline]
    pub(super) fn end(self) {
        self.out.truncate(self.end);
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.out[self.end] = byte;
        self.end += 1;
    }

    /// Of eight bytes, the lowest first, the first ones.
    #[inline]
    pub(super) fn eight(&mut self, bytes: u64, count: usize) {
        self.out[self.end..][..8].copy_from_slice(&bytes.to_le_bytes());
        self.end += count;
    }

    /// A text of up to 32 bytes, in two pieces of a fixed size, which may overlap: a copy of any size is a call.
    #[inline]
    pub(super) fn short(&mut self, text: &[u8]) {
        let len = text.len();
        let into = &mut self.out[self.end..][..len];
        match len {
            16..=32 => copy_ends::<16>(into, text),
            8..16 => copy_ends::<8>(into, text),
            4..8 => copy_ends::<4>(into, text),
            _ => into.copy_from_slice(text),
        }
        self.end += len;
    }

    /// A text of any length.
    #[inline]
    pub(super) fn text(&mut self, text: &[u8]) {
        self.out.truncate(self.end);
        self.out.extend_from_slice(text);
        self.end = self.out.len();
        self.out.resize(self.end + ROOM, 0);
    }

    /// A number in decimal.
    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        const EIGHT: u64 = 100_000_000;
        if number < EIGHT {
            return self.leading(number as u32);
        }
        let (high, low) = (number / EIGHT, number % EIGHT);
        if high < EIGHT {
            self.leading(high as u32);
        } else {
            self.leading((high / EIGHT) as u32);
            self.eight(eight((high % EIGHT) as u32), 8);
        }
        self.eight(eight(low as u32), 8);
    }

    /// A number of up to eight digits, without the zeros before it.
    #[inline]
    fn leading(&mut self, number: u32) {
        let digits = eight(number);
        // The last digit stays, though it may be a zero.
        let zeros = (((digits ^ ZEROS) | 1 << 56).trailing_zeros() / 8) as usize;
        self.eight(digits >> (8 * zeros), 8 - zeros);
    }
}

/// The digits of a number below 100,000,000, the first one in the lowest byte, with zeros before it. All are divided at once:
/// into fours, into twos, into single ones, by multiplications that are exact for numbers so small.
#[inline]
pub(super) fn eight(number: u32) -> u64 {
    let (high, low) = (u64::from(number / 10_000), u64::from(number % 10_000));
    let fours = high | low << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | (twos - 10 * tens) << 8) | ZEROS
}

/// Copies the first and the last N bytes, which is all of a text of up to twice as many.
#[inline]
fn copy_ends<const N: usize>(into: &mut [u8], text: &[u8]) {
    let last = text.len() - N;
    into[..N].copy_from_slice(&text[..N]);
    into[last..].copy_from_slice(&text[last..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut out = b"before ".to_vec();
        let mut line = Line::at_end(&mut out);
        write(&mut line);
        line.end();
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn each_four_digits_are_divided_exactly() {
        for number in 0..10_000 {
            for number in [number, number * 10_000, number * 10_000 + 9_999] {
                assert_eq!(
                    eight(number).to_le_bytes(),
                    *format!("{number:08}").as_bytes()
                );
            }
        }
    }

    #[test]
    fn numbers_around_each_power_of_ten_are_written_as_they_are() {
        for power in 0..20 {
            let ten = 10_u64.pow(power);
            for number in [ten - 1, ten, ten + 1, ten.wrapping_mul(9), u64::MAX, 0] {
                assert_eq!(written(|line| line.number(number)), number.to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn fields_follow_each_other(
            number in any::<u64>(),
            short in "[0-9]{0,32}",
            text in "[a-z]{0,300}",
            count in 1_usize..9,
        ) {
            let found = written(|line| {
                line.number(number);
                line.byte(b'|');
                line.text(text.as_bytes());
                line.short(short.as_bytes());
                line.eight(u64::from_le_bytes(*b"abcdefgh"), count);
            });
            prop_assert_eq!(found, format!("{number}|{text}{short}{}", &"abcdefgh"[..count]));
        }
    }
}
