#pragma once
// A text becomes tokens: words are found and normalised, then runs of words and runs of characters within a word are taken.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "twotower/base/types.hpp"
#include "twotower/data/tokens.hpp"

namespace twotower::data {

/// What is taken from a text. Lengths are inclusive; 0 to 0 takes none of a kind.
struct TextRules {
  bool fold_case = true;
  bool strip_accents = true;
  Index min_words = 1, max_words = 1;  // length of a run of words
  Index min_chars = 0, max_chars = 0;  // length of a run of characters, the borders of the word counted
};

/// Throws invalid_argument unless each pair is 0, 0 or 1 <= min <= max, and one of them takes something.
void check_rules(std::string_view function, const TextRules& rules);

/// Cuts texts into tokens. Holds the text it works on: one Tokenizer a block.
///
/// A word is a maximal run of letters, marks and digits (is_word); everything else separates, also the underscore, the apostrophe
/// and ill-formed UTF-8. Ignored code points (is_ignored) do not. A word without anything left of it (accents alone) is no word.
///
/// Order       word after word: the runs of words that begin with it, short to long; then, with borders ("<word>"), the runs of
///             its characters, at each beginning short to long. A bordered word shorter than min_chars is one run by itself.
/// Cost        one pass over the bytes, plus max_words and max_chars times what is left of them
class Tokenizer {
 public:
  explicit Tokenizer(const TextRules& rules);

  /// Calls take(const Token&) for every token; its bytes are valid during the call.
  template <class Take>
  void cut(std::span<const std::uint8_t> text, const Take& take) {
    normalize(text);
    for (std::size_t word = 0; word < words_.size(); ++word) {
      cut_words(word, take);
      if (rules_.max_chars > 0) cut_chars(word, take);
    }
  }

 private:
  struct Word {
    std::size_t begin, end;  // in normal_
  };

  void normalize(std::span<const std::uint8_t> text);
  void add_point(char32_t point, bool& inside);
  void open_word(bool& inside);

  /// Writes "<word>" to bordered_ and where its characters begin, and its end, to starts_.
  void set_border(std::size_t word);

  std::string_view normal(std::size_t begin, std::size_t end) const {
    return std::string_view(normal_).substr(begin, end - begin);
  }

  template <class Take>
  void cut_words(std::size_t first, const Take& take) {
    std::uint64_t hash = kHashStart;
    std::size_t hashed = words_[first].begin;
    const std::size_t after = std::min(words_.size(), first + static_cast<std::size_t>(rules_.max_words));
    for (std::size_t last = first; last < after; ++last) {
      hash = hash_bytes(hash, normal(hashed, words_[last].end));
      hashed = words_[last].end;
      if (last - first + 1 >= static_cast<std::size_t>(rules_.min_words))
        take(Token{hash, normal(words_[first].begin, hashed), false});
    }
  }

  template <class Take>
  void cut_chars(std::size_t word, const Take& take) {
    set_border(word);
    const std::string_view text(bordered_);
    const std::size_t length = starts_.size() - 1, longest = static_cast<std::size_t>(rules_.max_chars);
    const std::size_t shortest = std::min(length, static_cast<std::size_t>(rules_.min_chars));
    for (std::size_t first = 0; first + shortest <= length; ++first) {
      std::uint64_t hash = hash_byte(kHashStart, '#');
      for (std::size_t count = 1; count <= longest && first + count <= length; ++count) {
        const std::size_t begin = starts_[first + count - 1], end = starts_[first + count];
        hash = hash_bytes(hash, text.substr(begin, end - begin));
        if (count >= shortest) take(Token{hash, text.substr(starts_[first], end - starts_[first]), true});
      }
    }
  }

  TextRules rules_;
  std::array<char, 128> ascii_;  // what becomes of a byte; 0 separates
  std::string normal_;           // the words with a space between two
  std::vector<Word> words_;
  std::string bordered_;
  std::vector<std::size_t> starts_;
};

}  // namespace twotower::data
