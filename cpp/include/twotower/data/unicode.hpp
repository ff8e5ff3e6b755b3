#pragma once
// Code points: reading and writing UTF-8, case folding, accents, and which of them make words.
//
// Source      the Unicode Character Database, version 15.1: General_Category, CaseFolding (statuses C and S), and the canonical
//             decompositions. Code points assigned later are taken as what stands around them, at worst as separators.
#include <cstdint>
#include <string>

namespace twotower::data {

constexpr char32_t kReplacement = 0xFFFD;

/// The code point that begins at `next`, which must lie before `end`; moves `next` behind it.
///
/// Ill-formed bytes give U+FFFD, one for every maximal part of a well-formed sequence (the Unicode Standard, section 3.9, "U+FFFD
/// Substitution of Maximal Subparts"; Python's errors="replace" does the same).
char32_t decode_utf8(const std::uint8_t*& next, const std::uint8_t* end);

/// Adds one to four bytes to `out`. Requires a code point that is no surrogate.
void append_utf8(char32_t point, std::string& out);

/// Simple case folding: one code point for one. What only has a longer folding keeps its form or takes its lower case (U+1E9E
/// becomes U+00DF, U+0130 stays).
char32_t fold_case(char32_t point);

/// What a code point is without its accents: nothing (0, 0), one letter (base, 0), or two for a ligature.
struct Bases {
  char32_t first, second;
};

/// Takes the accents off letters of the Latin, Greek and Cyrillic blocks: the base of the canonical decomposition; the letter
/// under a stroke (o of U+00F8, d, h, l, t alike), i for the dotless i; two letters for ae, oe, sharp s and thorn. The combining
/// marks U+0300 to U+036F are nothing. Marks of other scripts, which often are vowels, stay.
Bases strip_accents(char32_t point);

/// Letters, marks and digits (general categories L, M, N), whether or not a script puts spaces between words.
bool is_word(char32_t point);

/// Code points that are as if they were not there: soft hyphen, joiners, zero-width spaces, variation selectors, byte-order mark.
bool is_ignored(char32_t point);

}  // namespace twotower::data
