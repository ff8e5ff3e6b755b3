#include "twotower/baselines/ease.hpp"

#include "twotower/base/check.hpp"
#include "twotower/baselines/inverse.hpp"

namespace twotower::baselines {
namespace {

constexpr const char* kName = "ease";
constexpr Index kItemBlock = 32;  // rows of a task

}  // namespace

void ease(const SparseRows& met, double regularization, const Threads& threads, Rows<float> weights) {
  const Index items = met.num_columns();
  check_positive(kName, "regularization", regularization);
  check_size(kName, "the number of rows", weights.rows(), "the number of items", items);
  check_size(kName, "the number of columns", weights.cols(), "the number of items", items);
  const SparseRows by_item = met.transposed();
  Matrix<double> gram(items, items);
  threads.for_blocks(items, kItemBlock, [&](Index begin, Index end, Index) {
    gram.middleRows(begin, end - begin).setZero();
    for (Index item = begin; item < end; ++item) {
      double* row = gram.row(item).data();
      const std::span<const Row> queries = by_item.columns_of(item);
      const std::span<const float> own = by_item.values_of(item);
      for (std::size_t k = 0; k < queries.size(); ++k) {
        const std::span<const Row> others = met.columns_of(queries[k]);
        const std::span<const float> values = met.values_of(queries[k]);
        for (std::size_t l = 0; l < others.size(); ++l)
          row[others[l]] += static_cast<double>(own[k]) * static_cast<double>(values[l]);
      }
      row[item] += regularization;
    }
  });
  invert_positive_definite(threads, gram);
  threads.for_blocks(items, kItemBlock, [&](Index begin, Index end, Index) {
    for (Index item = begin; item < end; ++item) {
      for (Index other = 0; other < items; ++other)
        weights(item, other) = static_cast<float>(-(other < item ? gram(item, other) : gram(other, item)) / gram(other, other));
      weights(item, item) = 0;
    }
  });
}

}  // namespace twotower::baselines
