#pragma once
// What all lists together show of the catalogue.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "twotower/base/types.hpp"
#include "twotower/evaluation/measures.hpp"

namespace twotower::evaluation {

enum class CatalogueMetric : std::uint8_t {
  kCoverage,  // share of the catalogue that is in the top k of any query
  kNovelty,  // mean over the items in the top k of all queries, each time it is there, of -log2(positives of it / all positives):
             // mean self-information, Castells, Hurley, Vargas 2015, doi:10.1007/978-1-4899-7637-6_26. A count below 1 is taken
             // as 1: an item that nobody has met is as novel as one that was met once, not infinitely so.
};

using CatalogueMeasure = Measure<CatalogueMetric>;

/// measures[i] is names[i] at cutoffs[i]. Names: coverage, novelty.
std::vector<CatalogueMeasure> catalogue_measures(std::span<const std::string> names, std::span<const Index> cutoffs);

/// values[m] = measures[m] of all lists together; each list is read once.
///
/// Shapes      ranked (queries, K): item rows, best first, -1 where a list is shorter    item_counts (items): positives of each
///             values (measures), written
/// Ensures     where nothing is shown, coverage is 0 and novelty, a mean over nothing, is NaN
/// Throws      invalid_argument for sizes, cutoffs above K, counts that are negative or not finite, and for novelty without any
///             positive; out_of_range for a row outside the catalogue
void catalogue_metrics(ConstRows<Row> ranked, std::span<const double> item_counts, std::span<const CatalogueMeasure> measures,
                       std::span<double> values);

}  // namespace twotower::evaluation
