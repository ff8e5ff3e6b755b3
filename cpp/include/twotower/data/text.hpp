#pragma once
// Columns of texts as lists of codes, hashed or by a learned vocabulary. Code 0 is a token that is not known.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/data/tokenizer.hpp"
#include "twotower/data/tokens.hpp"

namespace twotower::data {

/// A column of texts in UTF-8: text i is bytes[offsets[i] .. offsets[i + 1]).
struct Texts {
  std::span<const std::uint8_t> bytes;
  std::span<const std::int64_t> offsets;  // (rows + 1)

  Index rows() const { return std::ssize(offsets) - 1; }
  std::span<const std::uint8_t> of(Index row) const {
    const auto begin = offsets[static_cast<std::size_t>(row)], end = offsets[static_cast<std::size_t>(row) + 1];
    return bytes.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  }
};

/// One list of codes a row, never empty.
struct TextCodes {
  std::vector<std::int64_t> offsets;  // (rows + 1)
  std::vector<Row> codes;             // (offsets.back())
};

/// Tokens as they are written, one after the other, and in how many texts each stands.
struct TokenList {
  std::string bytes;
  std::vector<std::int64_t> offsets{0};  // (tokens + 1)
  std::vector<std::int64_t> documents;   // (tokens), or empty
  Index rare = 0, beyond = 0;            // tokens left out: below min_count, and above max_tokens
};

/// What becomes of a token without a code of its own.
enum class UnknownTokens : std::uint8_t { kLeaveOut, kKeepAsZero };

/// Turns texts into codes. Does not change once it is made, so any number of threads may share it.
///
/// Codes are 1 to `buckets` by the hash of the token (bucket_of), or, for buckets 0, 1 to the number of tokens by a vocabulary.
class TextCoder {
 public:
  /// Throws invalid_argument for rules that take nothing (check_rules) or negative buckets.
  TextCoder(const TextRules& rules, Index buckets);

  /// With a vocabulary: token k gets code k + 1. Throws invalid_argument where a token stands twice.
  TextCoder(const TextRules& rules, const Texts& vocabulary);

  /// Number of codes, 0 among them.
  Index size() const { return 1 + (buckets_ > 0 ? buckets_ : tokens_.size()); }

  /// The codes of every text in the order of its tokens, at most max_length of them (0: all). A text without any is a 0 alone.
  ///
  /// Throws      invalid_argument for offsets that do not fit the bytes
  /// Ensures     the same codes for any number of threads
  TextCodes encode(const Texts& texts, UnknownTokens unknown, Index max_length, const Threads& threads) const;

  /// Tokens without a code that stand in at least min_count texts: the max_tokens most frequent ones (by texts, not by
  /// occurrences), most frequent first, equally frequent ones by their bytes.
  ///
  /// Ensures     the same tokens for any number of threads
  TokenList learn(const Texts& texts, Index min_count, Index max_tokens, const Threads& threads) const;

  /// All tokens of all texts as they are written; `text_ends` gets the number of tokens up to the end of each text.
  TokenList split(const Texts& texts, std::vector<std::int64_t>& text_ends) const;

 private:
  Row code_of(const Token& token) const { return buckets_ > 0 ? bucket_of(token.hash, buckets_) : tokens_.find(token) + 1; }

  TextRules rules_;
  Index buckets_;
  TokenTable tokens_;
};

}  // namespace twotower::data
