#include "twotower/baselines/item_neighbors.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "twotower/base/check.hpp"

namespace twotower::baselines {
namespace {

constexpr const char* kName = "item_neighbors";
constexpr Index kItemBlock = 32;  // items that share scratch

/// Each item once a row, with the weight that the likeness gives it.
SparseRows weighted(const SparseRows& met, Likeness likeness, const Threads& threads) {
  // The product with the identity adds up what comes several times.
  const Index items = met.num_columns();
  std::vector<std::int64_t> places(static_cast<std::size_t>(items) + 1);
  std::iota(places.begin(), places.end(), std::int64_t{0});
  std::vector<Row> columns(static_cast<std::size_t>(items));
  std::iota(columns.begin(), columns.end(), Row{0});
  const SparseRows once = met.times(SparseRows(kName, places, columns, std::vector<float>(columns.size(), 1.0F), items), threads);
  if (likeness == Likeness::kCosine) return once;
  std::vector<float> values = once.values();
  for (Index query = 0; query < once.rows(); ++query) {
    const double idf = std::log(static_cast<double>(1 + items) / static_cast<double>(1 + once.size_of(query))) + 1;
    for (auto k = once.offsets()[static_cast<std::size_t>(query)]; k < once.offsets()[static_cast<std::size_t>(query) + 1]; ++k) {
      float& value = values[static_cast<std::size_t>(k)];
      value = likeness == Likeness::kJaccard ? 1.0F : static_cast<float>(idf * static_cast<double>(value));
    }
  }
  return {kName, once.offsets(), once.columns(), std::move(values), items};
}

struct Neighbor {
  double likeness;
  Row item;
};

bool is_nearer(const Neighbor& a, const Neighbor& b) {
  return a.likeness != b.likeness ? a.likeness > b.likeness : a.item < b.item;
}

/// Finds the neighbors of one item after the other, in scratch of its own.
class Search {
 public:
  Search(const SparseRows& by_query, const SparseRows& by_item, const std::vector<double>& squares, Likeness likeness,
         double shrink)
      : by_query_(by_query),
        by_item_(by_item),
        squares_(squares),
        likeness_(likeness),
        shrink_(shrink),
        products_(static_cast<std::size_t>(by_query.num_columns())) {}

  /// At most `count` of them, rows ascending; good until the next call.
  const std::vector<Neighbor>& of(Index item, Index count) {
    const std::span<const Row> queries = by_item_.columns_of(item);
    const std::span<const float> weights = by_item_.values_of(item);
    for (std::size_t k = 0; k < queries.size(); ++k) {
      const std::span<const Row> others = by_query_.columns_of(queries[k]);
      const std::span<const float> values = by_query_.values_of(queries[k]);
      for (std::size_t l = 0; l < others.size(); ++l)
        products_[static_cast<std::size_t>(others[l])] += static_cast<double>(weights[k]) * static_cast<double>(values[l]);
    }
    found_.clear();
    for (std::size_t other = 0; other < products_.size(); ++other) {
      const double product = std::exchange(products_[other], 0.0);
      if (product > 0 && static_cast<Index>(other) != item)
        found_.push_back({product / divisor(static_cast<std::size_t>(item), other, product), static_cast<Row>(other)});
    }
    if (std::ssize(found_) > count) {
      std::nth_element(found_.begin(), found_.begin() + count, found_.end(), is_nearer);
      found_.resize(static_cast<std::size_t>(count));
    }
    std::sort(found_.begin(), found_.end(), [](const Neighbor& a, const Neighbor& b) { return a.item < b.item; });
    return found_;
  }

 private:
  double divisor(std::size_t one, std::size_t other, double product) const {
    if (likeness_ == Likeness::kJaccard) return squares_[one] + squares_[other] - product + shrink_;
    return std::sqrt(squares_[one]) * std::sqrt(squares_[other]) + shrink_;
  }

  const SparseRows& by_query_;
  const SparseRows& by_item_;
  const std::vector<double>& squares_;
  Likeness likeness_;
  double shrink_;
  std::vector<double> products_;
  std::vector<Neighbor> found_;
};

}  // namespace

SparseRows item_neighbors(const SparseRows& met, Index neighbors, Likeness likeness, double shrink, const Threads& threads) {
  check_at_least(kName, "neighbors", neighbors, 1);
  check_in_range(kName, "shrink", shrink, 0, std::numeric_limits<double>::max());
  check_not_negative(kName, "weights", met.values());
  const SparseRows by_query = weighted(met, likeness, threads), by_item = by_query.transposed();
  const Index items = met.num_columns();
  std::vector<double> squares(static_cast<std::size_t>(items));
  for (Index item = 0; item < items; ++item)
    for (const float value : by_item.values_of(item))
      squares[static_cast<std::size_t>(item)] += static_cast<double>(value) * static_cast<double>(value);

  std::vector<std::vector<Neighbor>> lists(static_cast<std::size_t>(items));
  threads.for_blocks(items, kItemBlock, [&](Index begin, Index end, Index) {
    Search search(by_query, by_item, squares, likeness, shrink);
    for (Index item = begin; item < end; ++item) lists[static_cast<std::size_t>(item)] = search.of(item, neighbors);
  });
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> columns;
  std::vector<float> values;
  for (const std::vector<Neighbor>& list : lists) {
    for (const Neighbor& neighbor : list) {
      columns.push_back(neighbor.item);
      values.push_back(static_cast<float>(neighbor.likeness));
    }
    offsets.push_back(std::ssize(columns));
  }
  return {kName, std::move(offsets), std::move(columns), std::move(values), items};
}

}  // namespace twotower::baselines
