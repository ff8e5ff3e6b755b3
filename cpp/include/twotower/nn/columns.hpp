#pragma once
// How the parts of a layer share the columns of one block, such as the cache.
#include "twotower/base/types.hpp"

namespace twotower::nn {

/// The columns that a slice of `width` takes: 16 floats are a cache line, so slices that follow each other start on lines if the
/// block does.
constexpr Index whole_lines(Index width) { return (width + 15) / 16 * 16; }

/// The columns [first, first + width) of a block as RowMap or ConstRowMap. A map rather than Eigen's block: one type, whether the
/// rows lie in the cache or belong to the caller, and so never a copy.
template <class View, class Block>
View slice(Block& block, Index first, Index width) {
  return View(block.data() + first, block.rows(), width, Eigen::OuterStride<>(block.outerStride()));
}

}  // namespace twotower::nn
