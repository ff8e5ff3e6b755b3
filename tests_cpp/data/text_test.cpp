#include "twotower/data/text.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower::data;
using twotower::Index;
using twotower::Row;
using twotower::Threads;

namespace {

using Words = std::vector<std::string>;
using RowList = std::vector<Row>;
using Offsets = std::vector<std::int64_t>;

/// A column that owns its texts.
struct Column {
  std::string bytes;
  Offsets offsets{0};

  Column() = default;
  explicit Column(const Words& texts) {
    for (const std::string& text : texts) add(text);
  }
  void add(std::string_view text) {
    bytes += text;
    offsets.push_back(std::ssize(bytes));
  }
  Texts view() const { return {{reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, offsets}; }
};

Words words_of(const TokenList& list) {
  Words words;
  for (std::size_t k = 0; k + 1 < list.offsets.size(); ++k)
    words.push_back(list.bytes.substr(static_cast<std::size_t>(list.offsets[k]),
                                      static_cast<std::size_t>(list.offsets[k + 1] - list.offsets[k])));
  return words;
}

TextRules lengths(Index min_words, Index max_words, Index min_chars = 0, Index max_chars = 0) {
  return {true, true, min_words, max_words, min_chars, max_chars};
}

TextCoder coder_with(const TextRules& rules, const Words& tokens) { return {rules, Column(tokens).view()}; }

/// Titles of a small world of words; some are empty.
Column random_titles(Index rows, Index vocabulary) {
  twotower::RandomStream random(11, twotower::Purpose::kTest);
  Column column;
  for (Index row = 0; row < rows; ++row) {
    std::string text;
    for (Index k = random.below(6); k > 0; --k) text += "W" + std::to_string(random.below(vocabulary)) + " ";
    column.add(text);
  }
  return column;
}

constexpr auto kLeaveOut = UnknownTokens::kLeaveOut;
constexpr auto kKeep = UnknownTokens::kKeepAsZero;

}  // namespace

TEST_CASE("TextCoder: codes of a vocabulary in the order of the text") {
  const TextCoder coder = coder_with(lengths(1, 2), {"star", "wars", "star wars"});
  CHECK(coder.size() == 4);
  const Column texts({"Star Wars", "the wars", "", "nothing known", "star star"});
  const TextCodes known = coder.encode(texts.view(), kLeaveOut, 0, Threads(1));
  CHECK(known.offsets == Offsets{0, 3, 4, 5, 6, 8});
  CHECK(known.codes == RowList{1, 3, 2, 2, 0, 0, 1, 1});
  const TextCodes all = coder.encode(texts.view(), kKeep, 0, Threads(1));
  CHECK(all.offsets == Offsets{0, 3, 6, 7, 10, 13});
  CHECK(all.codes == RowList{1, 3, 2, 0, 0, 2, 0, 0, 0, 0, 1, 0, 1});
  const TextCodes first = coder.encode(texts.view(), kKeep, 2, Threads(1));
  CHECK(first.offsets == Offsets{0, 2, 4, 5, 7, 9});
  CHECK(first.codes == RowList{1, 3, 0, 0, 0, 0, 0, 1, 0});
}

TEST_CASE("TextCoder: hashed codes") {
  const TextCoder coder(lengths(1, 1, 3, 3), 1000);
  CHECK(coder.size() == 1001);
  const TextCodes found = coder.encode(Column({"to", ""}).view(), kLeaveOut, 0, Threads(1));
  RowList expected;
  for (const char* token : {"to", "#<to", "#to>"}) expected.push_back(bucket_of(token_of(token).hash, 1000));
  expected.push_back(0);
  CHECK(found.codes == expected);
  CHECK(found.offsets == Offsets{0, 3, 4});
}

TEST_CASE("TextCoder: learns the tokens of most texts, equally frequent ones by their bytes") {
  const TextCoder coder(lengths(1, 1), 0);
  const Column texts({"b b b a", "b a", "c", "d", "D", "e", ""});
  const TokenList all = coder.learn(texts.view(), 1, 10, Threads(1));
  CHECK(words_of(all) == Words{"a", "b", "d", "c", "e"});
  CHECK(all.documents == Offsets{2, 2, 2, 1, 1});
  CHECK(all.rare == 0);
  CHECK(all.beyond == 0);
  const TokenList some = coder.learn(texts.view(), 2, 2, Threads(1));
  CHECK(words_of(some) == Words{"a", "b"});
  CHECK(some.rare == 2);
  CHECK(some.beyond == 1);
  CHECK(words_of(coder.learn(texts.view(), 1, 0, Threads(1))).empty());
}

TEST_CASE("TextCoder: learns only what it does not know") {
  const TextCoder coder = coder_with(lengths(1, 1), {"a", "d"});
  CHECK(words_of(coder.learn(Column({"a b", "d e b"}).view(), 1, 10, Threads(1))) == Words{"b", "e"});
}

TEST_CASE("TextCoder: agrees with maps and sets, for any number of threads") {
  const Index rows = GENERATE(0, 1, 8191, 8192, 8193, 20011);
  const Column texts = random_titles(rows, 300);
  const TextRules rules = lengths(1, 2);
  const TextCoder empty(rules, 0);

  std::map<std::string, std::int64_t> counts;
  Offsets ends;
  const Words tokens = words_of(empty.split(texts.view(), ends));
  REQUIRE(std::ssize(ends) == rows);
  std::vector<Words> by_row;
  for (std::size_t row = 0, place = 0; row < ends.size(); ++row) {
    by_row.emplace_back();
    for (; place < static_cast<std::size_t>(ends[row]); ++place) by_row.back().push_back(tokens[place]);
    for (const std::string& token : std::set<std::string>(by_row.back().begin(), by_row.back().end())) ++counts[token];
  }
  std::vector<std::pair<std::int64_t, std::string>> order;
  for (const auto& [token, count] : counts)
    if (count >= 3) order.emplace_back(-count, token);
  std::sort(order.begin(), order.end());
  if (order.size() > 1000) order.resize(1000);

  std::map<std::string, Row> codes;
  Words learned;
  for (const auto& [count, token] : order) {
    learned.push_back(token);
    codes[token] = static_cast<Row>(learned.size());
  }
  RowList expected;
  for (const Words& row : by_row) {
    const std::size_t before = expected.size();
    for (const std::string& token : row)
      if (codes.contains(token)) expected.push_back(codes[token]);
    if (expected.size() == before) expected.push_back(0);
  }

  for (const int num_threads : {1, 2, 7}) {
    const TokenList list = empty.learn(texts.view(), 3, 1000, Threads(num_threads));
    CHECK(words_of(list) == learned);
    const TextCodes found = coder_with(rules, words_of(list)).encode(texts.view(), kLeaveOut, 0, Threads(num_threads));
    CHECK(found.codes == expected);
    CHECK(found.offsets.back() == std::ssize(expected));
  }
}

TEST_CASE("TextCoder: one huge text") {
  std::string text;
  while (text.size() < (10U << 20)) text += "Gro\u00DFe W\u00F6rter \xFF ";
  const TextCoder coder = coder_with(lengths(1, 1), {"grosse"});
  const TextCodes found = coder.encode(Column({text, "x"}).view(), kLeaveOut, 0, Threads(2));
  CHECK(found.codes.back() == 0);
  CHECK(std::ssize(found.codes) == found.offsets[1] + 1);
  CHECK(static_cast<std::size_t>(found.offsets[1]) == text.size() / std::string("Gro\u00DFe W\u00F6rter \xFF ").size());
}

TEST_CASE("TextCoder: refuses what does not fit") {
  const TextCoder coder(lengths(1, 1), 0);
  const std::vector<std::uint8_t> bytes{'a', 'b'};
  const Offsets late{0, 1}, falling{0, 2, 1, 2};
  CHECK_THROWS_WITH(coder.encode({bytes, late}, kKeep, 0, Threads(1)),
                    "TextCoder: offsets runs from 0 to 1, but must run from 0 to 2");
  CHECK_THROWS_WITH(coder.learn({bytes, falling}, 1, 1, Threads(1)),
                    "TextCoder: offsets[2] is 1, but must not be below offsets[1], which is 2");
  const Column texts({"a"});
  CHECK_THROWS_WITH(coder.encode(texts.view(), kKeep, -1, Threads(1)), "TextCoder: max_length is -1, but must be at least 0");
  CHECK_THROWS_WITH(coder.learn(texts.view(), 0, 1, Threads(1)), "TextCoder: min_count is 0, but must be at least 1");
  CHECK_THROWS_WITH(coder.learn(texts.view(), 1, -1, Threads(1)), "TextCoder: max_tokens is -1, but must be at least 0");
  CHECK_THROWS_WITH(TextCoder(lengths(1, 1), -1), "TextCoder: buckets is -1, but must be at least 0");
  CHECK_THROWS_WITH(TextCoder(lengths(1, 1), 1L << 31), "TextCoder: buckets is 2147483648, but must be below 2147483647");
  CHECK_THROWS_WITH(TextCoder(lengths(1, 1), 9).learn(texts.view(), 1, 1, Threads(1)),
                    "TextCoder: tokens are hashed into 9 buckets, there is nothing to learn");
  CHECK_THROWS_WITH(coder_with(lengths(1, 1), {"a", "b", "a"}), "TextCoder: tokens[2] is 'a' a second time; keep one of them");
  CHECK_THROWS_WITH(TextCoder(lengths(0, 0), 0), "TextCoder: max_words and max_chars are 0, but one of them must be at least 1");
}
