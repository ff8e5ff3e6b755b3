#include "twotower/data/histories.hpp"

#include <algorithm>

#include "twotower/base/check.hpp"

namespace twotower::data {

void ItemLists::check(std::string_view function, Index lists, Index num_items) const {
  check_size(function, "size of history offsets", std::ssize(offsets), "number of lists + 1", lists + 1);
  check_offsets(function, "history offsets", offsets, std::ssize(items));
  check_rows(function, "history items", items, num_items);
  if (weights.empty()) return;
  check_size(function, "size of history weights", std::ssize(weights), "size of history items", std::ssize(items));
  check_finite(function, "history weights", weights);
  check_not_negative(function, "history weights", weights);
}

void Histories::clear() {
  offsets.assign(1, 0);
  readers.assign(1, 0);
  items.clear();
  weights.clear();
  lengths.clear();
}

void Histories::assign(const ItemLists& lists, std::span<const Row> rows, Index max_length) {
  clear();
  for (const Row row : rows) {
    const auto list = static_cast<std::size_t>(row);
    const auto end = lists.offsets[list + 1], begin = std::max(lists.offsets[list], end - max_length);
    items.insert(items.end(), lists.items.begin() + begin, lists.items.begin() + end);
    if (!lists.weights.empty()) weights.insert(weights.end(), lists.weights.begin() + begin, lists.weights.begin() + end);
    end_sequence();
    lengths.push_back(static_cast<std::int32_t>(end - begin));
    end_readers();
  }
}

void Histories::assign_part(const Histories& whole, Index begin, Index size) {
  clear();
  for (auto reader = static_cast<std::size_t>(begin); reader < static_cast<std::size_t>(begin + size); ++reader) {
    const auto first = whole.offsets[reader], last = whole.offsets[reader + 1];
    items.insert(items.end(), whole.items.begin() + first, whole.items.begin() + last);
    if (!whole.weights.empty()) weights.insert(weights.end(), whole.weights.begin() + first, whole.weights.begin() + last);
    end_sequence();
    lengths.push_back(whole.lengths[reader]);
    end_readers();
  }
}

}  // namespace twotower::data
