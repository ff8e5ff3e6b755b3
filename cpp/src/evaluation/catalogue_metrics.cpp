#include "twotower/evaluation/catalogue_metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "twotower/base/check.hpp"
#include "twotower/evaluation/xtensor.hpp"

namespace twotower::evaluation {
namespace {

constexpr auto kFunction = "catalogue_metrics";
constexpr std::array<Named<CatalogueMetric>, 2> kNames{
    {{"coverage", CatalogueMetric::kCoverage}, {"novelty", CatalogueMetric::kNovelty}}};

using Values = xt::xtensor<double, 1>;

/// Self-information of each item in bits.
Values self_information(std::span<const double> item_counts) {
  const Values counts = xt::adapt(item_counts.data(), item_counts.size(), xt::no_ownership(), std::array{item_counts.size()});
  const double total = xt::sum(counts)();
  return std::log2(total) - xt::log2(xt::maximum(counts, 1.0));
}

void check(ConstRows<Row> ranked, std::span<const double> item_counts, std::span<const CatalogueMeasure> measures) {
  check_ranked(kFunction, ranked);
  const auto items = static_cast<Index>(item_counts.size());
  for (Index query = 0; query < ranked.rows(); ++query)
    for (Index rank = 0; rank < ranked.cols(); ++rank)
      if (ranked(query, rank) >= items) [[unlikely]]
        check_rows(kFunction, "ranked[" + std::to_string(query) + "]",
                   {ranked.row(query).data(), static_cast<std::size_t>(rank) + 1}, items);
  double total = 0;
  for (std::size_t i = 0; i < item_counts.size(); ++i) {
    total += item_counts[i];
    if (!(item_counts[i] >= 0) || !std::isfinite(item_counts[i])) [[unlikely]] {
      std::ostringstream message;
      message << "item_counts[" << i << "] is " << item_counts[i] << ", but must be a finite number, at least 0";
      fail(kFunction, message.str());
    }
  }
  const auto needs_positives = [](const CatalogueMeasure& measure) { return measure.metric == CatalogueMetric::kNovelty; };
  if (total == 0 && std::any_of(measures.begin(), measures.end(), needs_positives)) [[unlikely]]
    fail(kFunction, "item_counts add up to 0, but novelty needs at least one positive");
}

}  // namespace

std::vector<CatalogueMeasure> catalogue_measures(std::span<const std::string> names, std::span<const Index> cutoffs) {
  return measures_of<CatalogueMetric>(kFunction, kNames, names, cutoffs);
}

void catalogue_metrics(ConstRows<Row> ranked, std::span<const double> item_counts, std::span<const CatalogueMeasure> measures,
                       std::span<double> values) {
  const auto depth = static_cast<std::size_t>(largest_cutoff(kFunction, measures, ranked.cols()));
  check_size(kFunction, "the size of values", static_cast<Index>(values.size()), "the number of metrics",
             static_cast<Index>(measures.size()));
  check(ranked, item_counts, measures);

  const Values information = self_information(item_counts);
  // What each rank alone adds: items met there for the first time, items shown, their self-information.
  xt::xtensor<double, 2> added = xt::zeros<double>(std::array<std::size_t, 2>{3, depth});
  std::vector<std::size_t> first_rank(item_counts.size(), depth);
  for (Index query = 0; query < ranked.rows(); ++query)
    for (std::size_t rank = 0; rank < depth && ranked(query, static_cast<Index>(rank)) >= 0; ++rank) {
      const auto item = static_cast<std::size_t>(ranked(query, static_cast<Index>(rank)));
      first_rank[item] = std::min(first_rank[item], rank);
      added(1, rank) += 1;
      added(2, rank) += information(item);
    }
  for (const std::size_t rank : first_rank)
    if (rank < depth) added(0, rank) += 1;

  const xt::xtensor<double, 2> down_to = xt::cumsum(added, 1);
  for (std::size_t m = 0; m < measures.size(); ++m) {
    const auto last = static_cast<std::size_t>(measures[m].cutoff - 1);
    const bool coverage = measures[m].metric == CatalogueMetric::kCoverage;
    if (coverage)
      values[m] = item_counts.empty() ? 0 : down_to(0, last) / static_cast<double>(item_counts.size());
    else
      values[m] = down_to(2, last) / down_to(1, last);  // 0 / 0 where nothing is shown
  }
}

}  // namespace twotower::evaluation
