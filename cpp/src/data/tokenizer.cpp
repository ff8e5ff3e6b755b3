#include "twotower/data/tokenizer.hpp"

#include <algorithm>

#include "twotower/base/check.hpp"
#include "twotower/data/unicode.hpp"

namespace twotower::data {
namespace {

void check_lengths(std::string_view function, const std::string& name, Index shortest, Index longest) {
  if (shortest == 0 && longest == 0) return;
  check_at_least(function, "min_" + name, shortest, 1);
  check_at_least(function, "max_" + name, longest, shortest);
}

}  // namespace

void check_rules(std::string_view function, const TextRules& rules) {
  check_lengths(function, "words", rules.min_words, rules.max_words);
  check_lengths(function, "chars", rules.min_chars, rules.max_chars);
  if (rules.max_words == 0 && rules.max_chars == 0)
    fail(function, "max_words and max_chars are 0, but one of them must be at least 1");
}

Tokenizer::Tokenizer(const TextRules& rules) : rules_(rules), ascii_{} {
  check_rules("Tokenizer", rules);
  for (std::size_t byte = 0; byte < ascii_.size(); ++byte) {
    const auto point = static_cast<char32_t>(byte);
    if (is_word(point)) ascii_[byte] = static_cast<char>(rules.fold_case ? fold_case(point) : point);
  }
}

void Tokenizer::open_word(bool& inside) {
  if (inside) return;
  if (!normal_.empty()) normal_.push_back(' ');
  words_.push_back({normal_.size(), normal_.size()});
  inside = true;
}

void Tokenizer::add_point(char32_t point, bool& inside) {
  const Bases bases = rules_.strip_accents ? strip_accents(point) : Bases{point, 0};
  for (const char32_t base : {bases.first, bases.second}) {
    if (base == 0) continue;
    open_word(inside);
    append_utf8(rules_.fold_case ? fold_case(base) : base, normal_);
  }
}

void Tokenizer::normalize(std::span<const std::uint8_t> text) {
  normal_.clear();
  words_.clear();
  bool inside = false;
  const auto separate = [&] {
    if (inside) words_.back().end = normal_.size();
    inside = false;
  };
  const std::uint8_t *next = text.data(), *const end = next + text.size();
  while (next != end) {
    if (*next < 0x80) {
      const char letter = ascii_[*next++];
      if (letter == 0) {
        separate();
      } else {
        open_word(inside);
        normal_.push_back(letter);
      }
      continue;
    }
    const char32_t point = decode_utf8(next, end);
    if (is_word(point))
      add_point(point, inside);
    else if (!is_ignored(point))
      separate();
  }
  separate();
}

void Tokenizer::set_border(std::size_t word) {
  bordered_.assign(1, '<');
  bordered_.append(normal(words_[word].begin, words_[word].end));
  bordered_.push_back('>');
  starts_.clear();
  for (std::size_t place = 0; place < bordered_.size(); ++place)
    if ((static_cast<std::uint8_t>(bordered_[place]) & 0xC0) != 0x80) starts_.push_back(place);
  starts_.push_back(bordered_.size());
}

}  // namespace twotower::data
