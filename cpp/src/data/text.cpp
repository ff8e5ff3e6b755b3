#include "twotower/data/text.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>

#include "twotower/base/check.hpp"

namespace twotower::data {
namespace {

constexpr const char* kName = "TextCoder";

// Rows a block. Large enough that words repeat within a block, since every block brings each of its tokens to the common table.
constexpr Index kBlock = 8192;

void check_texts(const Texts& texts) { check_offsets(kName, "offsets", texts.offsets, std::ssize(texts.bytes)); }

/// Tokens and the number of texts that hold each.
struct Counts {
  TokenTable tokens;
  std::vector<std::int64_t> documents;

  Row add(const Token& token, std::int64_t texts) {
    const Row number = tokens.add(token);
    if (static_cast<std::size_t>(number) == documents.size()) documents.push_back(0);
    documents[static_cast<std::size_t>(number)] += texts;
    return number;
  }
};

/// The most frequent ones first; equally frequent ones by their bytes, so that the order does not depend on the one of counting.
TokenList most_frequent(const Counts& counts, Index min_count, Index max_tokens) {
  std::vector<Row> chosen;
  for (Row number = 0; number < counts.tokens.size(); ++number)
    if (counts.documents[static_cast<std::size_t>(number)] >= min_count) chosen.push_back(number);
  const Index kept = std::min(max_tokens, std::ssize(chosen));
  std::partial_sort(chosen.begin(), chosen.begin() + kept, chosen.end(), [&](Row a, Row b) {
    const auto texts_a = counts.documents[static_cast<std::size_t>(a)], texts_b = counts.documents[static_cast<std::size_t>(b)];
    return texts_a != texts_b ? texts_a > texts_b : counts.tokens.written(a) < counts.tokens.written(b);
  });
  TokenList list;
  list.rare = counts.tokens.size() - std::ssize(chosen);
  list.beyond = std::ssize(chosen) - kept;
  chosen.resize(static_cast<std::size_t>(kept));
  for (const Row number : chosen) {
    list.bytes += counts.tokens.written(number);
    list.offsets.push_back(std::ssize(list.bytes));
    list.documents.push_back(counts.documents[static_cast<std::size_t>(number)]);
  }
  return list;
}

}  // namespace

TextCoder::TextCoder(const TextRules& rules, Index buckets) : rules_(rules), buckets_(buckets) {
  check_rules(kName, rules);
  check_at_least(kName, "buckets", buckets, 0);
  if (buckets >= std::numeric_limits<Row>::max())
    fail(kName, "buckets is " + std::to_string(buckets) + ", but must be below 2147483647");
}

TextCoder::TextCoder(const TextRules& rules, const Texts& vocabulary) : TextCoder(rules, 0) {
  check_texts(vocabulary);
  for (Index place = 0; place < vocabulary.rows(); ++place) {
    const auto bytes = vocabulary.of(place);
    const std::string_view written(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (tokens_.add(token_of(written)) != place)
      fail(kName, "tokens[" + std::to_string(place) + "] is '" + std::string(written) + "' a second time; keep one of them");
  }
}

TextCodes TextCoder::encode(const Texts& texts, UnknownTokens unknown, Index max_length, const Threads& threads) const {
  check_texts(texts);
  check_at_least(kName, "max_length", max_length, 0);
  TextCodes found;
  found.offsets.assign(texts.offsets.size(), 0);
  std::vector<std::vector<Row>> parts(static_cast<std::size_t>((texts.rows() + kBlock - 1) / kBlock));
  threads.for_blocks(texts.rows(), kBlock, [&](Index begin, Index end, Index block) {
    std::vector<Row>& codes = parts[static_cast<std::size_t>(block)];
    Tokenizer tokenizer(rules_);
    for (Index row = begin; row < end; ++row) {
      const Index before = std::ssize(codes);
      tokenizer.cut(texts.of(row), [&](const Token& token) {
        if (max_length > 0 && std::ssize(codes) - before == max_length) return;
        const Row code = code_of(token);
        if (code > 0 || unknown == UnknownTokens::kKeepAsZero) codes.push_back(code);
      });
      if (std::ssize(codes) == before) codes.push_back(0);
      found.offsets[static_cast<std::size_t>(row) + 1] = std::ssize(codes) - before;
    }
  });
  std::partial_sum(found.offsets.begin(), found.offsets.end(), found.offsets.begin());
  found.codes.resize(static_cast<std::size_t>(found.offsets.back()));
  threads.for_blocks(texts.rows(), kBlock, [&](Index begin, Index, Index block) {
    std::vector<Row>& codes = parts[static_cast<std::size_t>(block)];
    std::copy(codes.begin(), codes.end(), found.codes.begin() + found.offsets[static_cast<std::size_t>(begin)]);
    codes = {};
  });
  return found;
}

TokenList TextCoder::learn(const Texts& texts, Index min_count, Index max_tokens, const Threads& threads) const {
  check_texts(texts);
  check_at_least(kName, "min_count", min_count, 1);
  check_at_least(kName, "max_tokens", max_tokens, 0);
  if (buckets_ > 0) fail(kName, "tokens are hashed into " + std::to_string(buckets_) + " buckets, there is nothing to learn");
  Counts all;
  std::mutex mutex;
  threads.for_blocks(texts.rows(), kBlock, [&](Index begin, Index end, Index) {
    Counts own;
    std::vector<Index> last_row;  // of each token: a text counts once, however often it holds the token
    Tokenizer tokenizer(rules_);
    for (Index row = begin; row < end; ++row)
      tokenizer.cut(texts.of(row), [&](const Token& token) {
        if (tokens_.find(token) >= 0) return;
        const auto number = static_cast<std::size_t>(own.add(token, 0));
        if (number == last_row.size()) last_row.push_back(-1);
        if (last_row[number] == row) return;
        last_row[number] = row;
        ++own.documents[number];
      });
    // Sums of whole numbers do not depend on who comes first, and most_frequent() puts the tokens in order.
    const std::lock_guard<std::mutex> lock(mutex);
    for (Row number = 0; number < own.tokens.size(); ++number)
      all.add(own.tokens.token(number), own.documents[static_cast<std::size_t>(number)]);
  });
  // Nobody else is left; a sanitizer that cannot look into oneTBB learns it from the lock.
  const std::lock_guard<std::mutex> lock(mutex);
  return most_frequent(all, min_count, max_tokens);
}

TokenList TextCoder::split(const Texts& texts, std::vector<std::int64_t>& text_ends) const {
  check_texts(texts);
  TokenList list;
  Tokenizer tokenizer(rules_);
  for (Index row = 0; row < texts.rows(); ++row) {
    tokenizer.cut(texts.of(row), [&](const Token& token) {
      if (token.is_piece) list.bytes.push_back('#');
      list.bytes += token.bytes;
      list.offsets.push_back(std::ssize(list.bytes));
    });
    text_ends.push_back(std::ssize(list.offsets) - 1);
  }
  return list;
}

}  // namespace twotower::data
