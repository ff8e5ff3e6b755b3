#pragma once
// TF-IDF: lists of codes become lists of weights, in which rare codes count more.
#include <cstdint>
#include <span>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::data {

/// In how many lists each code stands (vocabulary).
///
/// Shapes      offsets (rows + 1)    codes (offsets.back()), in [0, vocabulary)
std::vector<std::int64_t> document_counts(std::span<const std::int64_t> offsets, std::span<const Row> codes, Index vocabulary);

/// One list a row, each code once, ascending.
struct WeightedCodes {
  std::vector<std::int64_t> offsets;  // (rows + 1)
  std::vector<Row> codes;             // (offsets.back())
  std::vector<float> weights;         // as codes; the squares of a row sum up to 1
};

/// Repeats of a code in a row are merged; its weight is their number times idf[code], and each row is divided by its length.
/// Computed in double.
///
/// Shapes      offsets (rows + 1)    codes (offsets.back()), in [0, size of idf)    idf (vocabulary), above 0
/// Source      Salton, Buckley 1988, "Term-weighting approaches in automatic text retrieval" (tfc)
WeightedCodes tf_idf(std::span<const std::int64_t> offsets, std::span<const Row> codes, std::span<const double> idf,
                     const Threads& threads);

}  // namespace twotower::data
