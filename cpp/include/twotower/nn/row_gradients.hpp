#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::nn {

/// The gradient of table row `row` gets scale * (gradient of the batch's row `position`).
struct RowTouch {
  Row row;
  Row position;
  float scale;
};

/// The gradient of a table of which a batch touched few rows: the distinct rows, ascending, and for each the sum of what it got.
///
/// The sum of a row runs in the order of sources and, within one, of touches, whoever asks for it: same bytes for any number of
/// threads. There are no locks and no atomics, because each distinct row is summed by one caller.
///
///   gradients.sort(sources, table_rows);
///   threads.for_blocks(gradients.rows().size(), gradients.kBlock, [&](Index begin, Index end, Index) {
///     for (Index k = begin; k < end; ++k) update(gradients.rows()[k], gradients.of(k, buffer));
///   });
///
/// Cost        sort: one pass over the touches for every 11 bits of table_rows; of: touches x width. Buffers are reused: nothing
///             is allocated once the largest batch has been seen.
template <class Scalar>
class RowGradients {
 public:
  /// Distinct rows that one task updates: enough to pay for the task, few enough to spread.
  static constexpr Index kBlock = 64;

  struct Source {
    std::span<const RowTouch> touches;
    ConstRowMap<Scalar> gradients;  ///< (batch, width): row `position` belongs to touch.position
  };

  /// Forgets what was there. The gradients must live until the last sum; touches may go at once.
  /// Throws std::invalid_argument if widths of sources differ, or if a touch names a row or position that is not there.
  void sort(std::span<const Source> sources, Index table_rows);

  /// The distinct touched rows, ascending.
  std::span<const Row> rows() const { return rows_; }

  Index width() const { return width_; }

  /// The gradient of rows()[k] (width): where the batch has it if the row was touched once, else summed up in `buffer` (width).
  const Scalar* of(Index k, Scalar* buffer) const;

  /// Asks for what of(k) will read; k may lie beyond the rows.
  void prefetch(Index k) const;

  /// Writes the gradient of rows()[k] to row k of out (rows().size(), width), for all k.
  void sum_all(const Threads& threads, Rows<Scalar> out) const;

 private:
  struct Key {
    std::uint32_t row;
    std::uint32_t order;  ///< number of the touch, counted over all sources
  };
  struct Part {
    const Scalar* gradient;
    float scale;
  };

  std::span<const Part> parts_of(Index k) const;
  void sum(std::span<const Part> parts, Scalar* out) const;
  void collect(std::span<const Source> sources, Index table_rows);
  void sort_keys(Index table_rows);

  Index width_ = 0;
  std::vector<Part> unsorted_, parts_;
  std::vector<Key> keys_, other_keys_;
  std::vector<std::uint32_t> counts_;
  std::vector<Row> rows_;
  std::vector<Index> starts_;  ///< rows_[k] got the parts [starts_[k], starts_[k + 1])
};

}  // namespace twotower::nn
