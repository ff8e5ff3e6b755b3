#include "twotower/data/tokenizer.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower::data;
using twotower::Index;

namespace {

using Words = std::vector<std::string>;

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Words tokens_of(std::string_view text, const TextRules& rules = {}) {
  Words found;
  Tokenizer tokenizer(rules);
  tokenizer.cut(bytes_of(text), [&](const Token& token) {
    found.push_back((token.is_piece ? "#" : "") + std::string(token.bytes));
    CHECK(token.hash == token_of(found.back()).hash);
  });
  return found;
}

TextRules lengths(Index min_words, Index max_words, Index min_chars, Index max_chars) {
  return {true, true, min_words, max_words, min_chars, max_chars};
}

}  // namespace

TEST_CASE("Tokenizer: words are runs of letters and digits, in small letters and without accents") {
  CHECK(tokens_of("The Lord of the Rings (2001)") == Words{"the", "lord", "of", "the", "rings", "2001"});
  CHECK(tokens_of("Don't_stop me-now") == Words{"don", "t", "stop", "me", "now"});
  CHECK(tokens_of("Am\u00E9lie \u0152uvre STRASSE stra\u00DFe") == Words{"amelie", "oeuvre", "strasse", "strasse"});
  CHECK(tokens_of("\u041C\u043E\u0441\u043A\u0432\u0430 \u4E2D\u6587") ==
        Words{"\u043C\u043E\u0441\u043A\u0432\u0430", "\u4E2D\u6587"});
}

TEST_CASE("Tokenizer: nothing, separators alone, accents alone, zero bytes, ill-formed bytes") {
  CHECK(tokens_of("").empty());
  CHECK(tokens_of(" \t\n.,;!").empty());
  CHECK(tokens_of("\u0301 \u0302\u0303").empty());
  CHECK(tokens_of(std::string_view("a\0b\0", 4)) == Words{"a", "b"});
  CHECK(tokens_of("caf\xE9 \xFF\xFE"
                  "x") == Words{"caf", "x"});
  CHECK(tokens_of("a\u00ADb\u200Dc \u2764\uFE0F") == Words{"abc"});  // soft hyphen, joiner; a heart is no word
}

TEST_CASE("Tokenizer: case and accents can be kept") {
  TextRules rules;
  rules.fold_case = false;
  CHECK(tokens_of("\u00C9T\u00C9 No\u0301", rules) == Words{"ETE", "No"});
  rules.strip_accents = false;
  CHECK(tokens_of("\u00C9t\u00E9 No\u0301", rules) == Words{"\u00C9t\u00E9", "No\u0301"});
  rules.fold_case = true;
  CHECK(tokens_of("\u00C9T\u00C9 NO\u0301", rules) == Words{"\u00E9t\u00E9", "no\u0301"});
}

TEST_CASE("Tokenizer: runs of words begin where their first word stands") {
  CHECK(tokens_of("a b c", lengths(1, 2, 0, 0)) == Words{"a", "a b", "b", "b c", "c"});
  CHECK(tokens_of("a b c", lengths(2, 3, 0, 0)) == Words{"a b", "a b c", "b c"});
  CHECK(tokens_of("a b", lengths(3, 3, 0, 0)).empty());
  CHECK(tokens_of("A, (B)", lengths(2, 2, 0, 0)) == Words{"a b"});
}

TEST_CASE("Tokenizer: runs of characters lie within a word and its borders") {
  CHECK(tokens_of("cat", lengths(0, 0, 3, 3)) == Words{"#<ca", "#cat", "#at>"});
  CHECK(tokens_of("ab cd", lengths(1, 1, 3, 4)) == Words{"ab", "#<ab", "#<ab>", "#ab>", "cd", "#<cd", "#<cd>", "#cd>"});
  CHECK(tokens_of("a", lengths(0, 0, 3, 5)) == Words{"#<a>"});
  CHECK(tokens_of("a", lengths(0, 0, 4, 5)) == Words{"#<a>"});  // too short for any run: one by itself
  CHECK(tokens_of("\u4E2D\u6587", lengths(0, 0, 2, 2)) == Words{"#<\u4E2D", "#\u4E2D\u6587", "#\u6587>"});
}

TEST_CASE("Tokenizer: agrees with runs taken from a list of words") {
  const Index min_words = GENERATE(1, 2), more_words = GENERATE(0, 2), min_chars = GENERATE(1, 3), more_chars = GENERATE(0, 1);
  const TextRules rules = lengths(min_words, min_words + more_words, min_chars, min_chars + more_chars);
  twotower::RandomStream random(3, twotower::Purpose::kTest);
  for (int text_number = 0; text_number < 50; ++text_number) {
    Words words(static_cast<std::size_t>(random.below(6))), expected;
    std::string text;
    for (std::string& word : words) {
      for (Index k = random.below(5); k >= 0; --k) word += static_cast<char>('a' + random.below(3));
      text += word + (random.below(2) == 0 ? " " : " - ");
    }
    for (std::size_t word = 0; word < words.size(); ++word) {
      std::string run = words[word];
      for (Index count = 1; count <= rules.max_words && word + static_cast<std::size_t>(count) <= words.size(); ++count) {
        if (count > 1) run += " " + words[word + static_cast<std::size_t>(count) - 1];
        if (count >= rules.min_words) expected.push_back(run);
      }
      const std::string bordered = "<" + words[word] + ">";
      const Index length = std::ssize(bordered), shortest = std::min(length, rules.min_chars);
      for (Index first = 0; first < length; ++first)
        for (Index count = shortest; count <= rules.max_chars && first + count <= length; ++count)
          expected.push_back("#" + bordered.substr(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
    }
    CHECK(tokens_of(text, rules) == expected);
  }
}

TEST_CASE("Tokenizer: one text leaves nothing to the next") {
  Tokenizer tokenizer(lengths(1, 2, 0, 0));
  Words found;
  const auto take = [&](const Token& token) { found.emplace_back(token.bytes); };
  tokenizer.cut(bytes_of("a long one"), take);
  found.clear();
  tokenizer.cut(bytes_of("b c"), take);
  CHECK(found == Words{"b", "b c", "c"});
}

TEST_CASE("Tokenizer: refuses lengths that take nothing") {
  CHECK_THROWS_WITH(Tokenizer(lengths(2, 1, 0, 0)), "Tokenizer: max_words is 1, but must be at least 2");
  CHECK_THROWS_WITH(Tokenizer(lengths(0, 1, 0, 0)), "Tokenizer: min_words is 0, but must be at least 1");
  CHECK_THROWS_WITH(Tokenizer(lengths(1, 1, -1, 2)), "Tokenizer: min_chars is -1, but must be at least 1");
  CHECK_THROWS_WITH(Tokenizer(lengths(0, 0, 0, 0)),
                    "Tokenizer: max_words and max_chars are 0, but one of them must be at least 1");
}
