#pragma once
// What is done with rows that lie all over a table: ask for them early, and sum them in registers.
#include <Eigen/Core>

#include "twotower/base/types.hpp"

namespace twotower::nn {

/// Asks for the cache lines of a row. Inline, since GCC drops calls of a function that does nothing but this.
template <class Scalar>
[[gnu::always_inline]] inline void prefetch_row(const Scalar* values, Index width) {
  constexpr Index kLine = 64 / sizeof(Scalar);
  for (Index k = 0; k < width; k += kLine) __builtin_prefetch(values + k);
}

/// Element j is row codes[j] of the matrix at `values`; codes up to `last` may be looked at.
template <class Scalar>
struct Gather {
  // Rows of a large table come from memory one by one unless they are asked for early, across the ends of sequences.
  static constexpr Index kAhead = 16;

  const Scalar* values;
  Index stride, width;
  const Row *codes, *last;

  const Scalar* row(Index j) const { return values + codes[j] * stride; }

  /// Asks for the element kAhead positions behind j.
  [[gnu::always_inline]] void prefetch(Index j) const {
    if (last - codes > j + kAhead) prefetch_row(row(j + kAhead), width);
  }
};

/// Calls body.operator()<n>(k) for blocks of n columns from k, n known when compiling: such a block stays in registers.
template <class Body>
void for_columns(Index width, const Body& body) {
  Index k = 0;
  for (; k + 64 <= width; k += 64) body.template operator()<64>(k);
  for (; k + 16 <= width; k += 16) body.template operator()<16>(k);
  for (; k + 4 <= width; k += 4) body.template operator()<4>(k);
  for (; k < width; ++k) body.template operator()<1>(k);
}

/// sum (width) = sum over `count` elements of factors[j] times element j, in ascending j; written.
template <class Scalar>
void weighted_sum(const Gather<Scalar>& gather, const Scalar* factors, Index count, Scalar* sum) {
  for_columns(gather.width, [&]<int n>(Index k) {
    using Block = Eigen::Array<Scalar, 1, n>;
    Block block = Block::Zero();
    for (Index j = 0; j < count; ++j) block += factors[j] * Eigen::Map<const Block>(gather.row(j) + k);
    Eigen::Map<Block>(sum + k) = block;
  });
}

}  // namespace twotower::nn
