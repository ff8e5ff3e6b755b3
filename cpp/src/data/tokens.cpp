#include "twotower/data/tokens.hpp"

#include <algorithm>

namespace twotower::data {
namespace {

constexpr std::size_t kFirstSlots = 64;

constexpr std::uint32_t tag_of(std::uint64_t spread) { return static_cast<std::uint32_t>(spread >> 32); }

}  // namespace

Token token_of(std::string_view written) {
  const bool is_piece = !written.empty() && written.front() == '#';
  return {hash_bytes(kHashStart, written), written.substr(is_piece ? 1 : 0), is_piece};
}

std::string_view TokenTable::written(Row number) const {
  const auto place = static_cast<std::size_t>(number);
  const std::size_t begin = place == 0 ? 0 : ends_[place - 1];
  return std::string_view(bytes_).substr(begin, ends_[place] - begin);
}

Token TokenTable::token(Row number) const {
  const std::string_view text = written(number);
  const bool is_piece = !text.empty() && text.front() == '#';
  return {hashes_[static_cast<std::size_t>(number)], text.substr(is_piece ? 1 : 0), is_piece};
}

bool TokenTable::equals(Row number, const Token& token) const {
  std::string_view text = written(number);
  if (token.is_piece) {
    if (text.empty() || text.front() != '#') return false;
    text.remove_prefix(1);
  }
  return text == token.bytes;  // no word begins with a #
}

std::size_t TokenTable::slot_of(const Token& token, std::uint64_t spread) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t place = spread & mask;
  while (slots_[place].number >= 0 && !(slots_[place].tag == tag_of(spread) && equals(slots_[place].number, token)))
    place = (place + 1) & mask;
  return place;
}

Row TokenTable::find(const Token& token) const {
  return slots_.empty() ? -1 : slots_[slot_of(token, spread_hash(token.hash))].number;
}

Row TokenTable::add(const Token& token) {
  if (2 * (hashes_.size() + 1) > slots_.size()) grow();
  const std::uint64_t spread = spread_hash(token.hash);
  Slot& slot = slots_[slot_of(token, spread)];
  if (slot.number < 0) {
    slot = {tag_of(spread), static_cast<Row>(hashes_.size())};
    hashes_.push_back(token.hash);
    if (token.is_piece) bytes_.push_back('#');
    bytes_.append(token.bytes);
    ends_.push_back(bytes_.size());
  }
  return slot.number;
}

void TokenTable::grow() {
  slots_.assign(std::max(kFirstSlots, 2 * slots_.size()), Slot());
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t number = 0; number < hashes_.size(); ++number) {
    const std::uint64_t spread = spread_hash(hashes_[number]);
    std::size_t place = spread & mask;
    while (slots_[place].number >= 0) place = (place + 1) & mask;
    slots_[place] = {tag_of(spread), static_cast<Row>(number)};
  }
}

}  // namespace twotower::data
