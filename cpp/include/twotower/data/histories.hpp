#pragma once
// What each query met, as sequences of item rows with their readers: the data behind nn::Sequences.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "twotower/base/types.hpp"

namespace twotower::data {

/// Lists of item rows, oldest first, perhaps weighted; views of the caller's arrays.
struct ItemLists {
  std::span<const std::int64_t> offsets;  // (lists + 1)
  std::span<const Row> items;
  std::span<const float> weights;  // as items, or empty: all 1

  /// "history: offsets[3] is 2, but ..."; throws invalid_argument and out_of_range.
  void check(std::string_view function, Index lists, Index num_items) const;
};

/// Sequences and their readers. Query row r of a batch is reader r: it sees the first lengths[r] items of its sequence.
struct Histories {
  std::vector<std::int64_t> offsets{0};  // (sequences + 1)
  std::vector<Row> items;                // (positions) oldest first
  std::vector<float> weights;            // as items, or empty: all 1
  std::vector<std::int64_t> readers{0};  // (sequences + 1)
  std::vector<std::int32_t> lengths;     // (rows)

  void clear();

  /// Ends the sequence whose items were pushed last; its readers' lengths follow.
  void end_sequence() { offsets.push_back(std::ssize(items)); }
  void end_readers() { readers.push_back(std::ssize(lengths)); }

  /// One sequence a row, read to its end: the newest `max_length` of list rows[i].
  void assign(const ItemLists& lists, std::span<const Row> rows, Index max_length);

  /// The readers [begin, begin + size) of `whole`, which has one reader a sequence.
  void assign_part(const Histories& whole, Index begin, Index size);
};

}  // namespace twotower::data
