#include "twotower/data/unicode.hpp"

#include <string_view>
#include <vector>

#include "support/catch.hpp"

using twotower::data::append_utf8;
using twotower::data::Bases;
using twotower::data::decode_utf8;
using twotower::data::fold_case;
using twotower::data::is_ignored;
using twotower::data::is_word;
using twotower::data::kReplacement;
using twotower::data::strip_accents;

namespace {

using Points = std::vector<char32_t>;

Points decoded(std::string_view text) {
  const auto* next = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* const end = next + text.size();
  Points points;
  while (next != end) points.push_back(decode_utf8(next, end));
  return points;
}

std::string bases_of(char32_t point) {
  const Bases bases = strip_accents(point);
  std::string out;
  if (bases.first != 0) append_utf8(bases.first, out);
  if (bases.second != 0) append_utf8(bases.second, out);
  return out;
}

}  // namespace

TEST_CASE("Unicode: every code point survives UTF-8 and back") {
  std::string text;
  Points points;
  for (char32_t point = 0; point < 0x110000; ++point) {
    if (point == 0xD800) point = 0xE000;
    points.push_back(point);
    append_utf8(point, text);
  }
  CHECK(decoded(text) == points);
}

TEST_CASE("Unicode: ill-formed bytes become U+FFFD, one for a maximal part of a sequence") {
  const char32_t r = kReplacement;
  CHECK(decoded("a\xFF"
                "b") == Points{'a', r, 'b'});
  CHECK(decoded("\x80\xBF") == Points{r, r});  // continuations alone
  CHECK(decoded("\xC3") == Points{r});         // cut off
  CHECK(decoded("\xE2\x82") == Points{r});     // cut off later: one
  CHECK(decoded("\xE2\x82z") == Points{r, 'z'});
  CHECK(decoded("\xF0\x9F\x98") == Points{r});
  CHECK(decoded("\xC0\xAF") == Points{r, r});  // overlong
  CHECK(decoded("\xE0\x80\xAF") == Points{r, r, r});
  CHECK(decoded("\xED\xA0\x80") == Points{r, r, r});         // a surrogate
  CHECK(decoded("\xF4\x90\x80\x80") == Points{r, r, r, r});  // above U+10FFFF
  CHECK(decoded("\xF5\x80") == Points{r, r});
  // The example of the Unicode Standard, table 3-8.
  CHECK(decoded("a\xF1\x80\x80\xE1\x80\xC2"
                "b\x80"
                "c\x80\xBF"
                "d") == Points{'a', r, r, r, 'b', r, 'c', r, r, 'd'});
}

TEST_CASE("Unicode: simple case folding") {
  CHECK(fold_case('A') == 'a');
  CHECK(fold_case('[') == '[');
  CHECK(fold_case(0xC9) == 0xE9);      // E with acute
  CHECK(fold_case(0xD7) == 0xD7);      // the sign of multiplication lies among the capitals
  CHECK(fold_case(0x101) == 0x101);    // every other one is a capital
  CHECK(fold_case(0x3A3) == 0x3C3);    // sigma
  CHECK(fold_case(0x3C2) == 0x3C3);    // final sigma
  CHECK(fold_case(0x416) == 0x436);    // Cyrillic
  CHECK(fold_case(0x13A0) == 0x13A0);  // Cherokee folds to its capitals
  CHECK(fold_case(0xAB70) == 0x13A0);
  CHECK(fold_case(0x1E9E) == 0xDF);  // capital sharp s
  CHECK(fold_case(0x130) == 0x130);  // only a longer folding
  CHECK(fold_case(0x10400) == 0x10428);
  CHECK(fold_case(0x10FFFF) == 0x10FFFF);
}

TEST_CASE("Unicode: folding twice changes nothing more") {
  for (char32_t point = 0; point < 0x110000; ++point)
    if (fold_case(fold_case(point)) != fold_case(point)) FAIL_CHECK("U+" << std::hex << static_cast<std::uint32_t>(point));
}

TEST_CASE("Unicode: letters without their accents") {
  CHECK(bases_of('e') == "e");
  CHECK(bases_of(0xE9) == "e");
  CHECK(bases_of(0xC5) == "A");
  CHECK(bases_of(0x1EC7) == "e");  // two accents
  CHECK(bases_of(0x301).empty());  // a combining acute
  CHECK(bases_of(0xF8) == "o");    // strokes
  CHECK(bases_of(0x1FF) == "o");   // a stroke and an acute
  CHECK(bases_of(0x141) == "L");
  CHECK(bases_of(0x131) == "i");
  CHECK(bases_of(0xDF) == "ss");
  CHECK(bases_of(0x1FC) == "AE");
  CHECK(bases_of(0x3AC) == "\u03B1");   // Greek
  CHECK(bases_of(0x1F85) == "\u03B1");  // three marks
  CHECK(bases_of(0x451) == "\u0435");   // Cyrillic
  CHECK(bases_of(0x439) == "\u0438");
  CHECK(bases_of(0xF7) == "\u00F7");    // the sign of division lies among the letters
  CHECK(bases_of(0x93E) == "\u093E");   // a vowel of Devanagari
  CHECK(bases_of(0xAC00) == "\uAC00");  // a syllable of Hangul
}

TEST_CASE("Unicode: what makes words") {
  for (const char32_t point :
       {U'a', U'Z', U'7', U'\u00E9', U'\u0416', U'\u0301', U'\u093E', U'\u4E2D', U'\uAC00', U'\u0E01', U'\U00020000', U'\u00B2'})
    CHECK(is_word(point));
  for (const char32_t point : {U' ', U'_', U'\'', U'-', U'\0', U'\u00A0', U'\u00D7', U'\u2019', U'\u3001', U'\uFFFD',
                               U'\U0001F600', U'\uE000', U'\U0010FFFF'})
    CHECK(!is_word(point));
  for (const char32_t point : {U'\u00AD', U'\u200D', U'\uFE0F', U'\uFEFF'}) {
    CHECK(is_ignored(point));
    CHECK(!is_word(point));
  }
  CHECK(!is_ignored(' '));
}
