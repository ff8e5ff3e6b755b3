#include "twotower/data/tf_idf.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "twotower/base/check.hpp"

namespace twotower::data {
namespace {

constexpr const char* kName = "tf_idf";
constexpr Index kBlock = 8192;  // rows

std::span<const Row> list_of(std::span<const std::int64_t> offsets, std::span<const Row> codes, Index row) {
  const auto begin = offsets[static_cast<std::size_t>(row)], end = offsets[static_cast<std::size_t>(row) + 1];
  return codes.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

struct Part {
  std::vector<Row> codes;
  std::vector<float> weights;
};

/// Adds the merged list of a row; `sorted` and `values` are scratch.
void add_row(std::span<const Row> list, std::span<const double> idf, std::vector<Row>& sorted, std::vector<double>& values,
             Part& part) {
  sorted.assign(list.begin(), list.end());
  std::sort(sorted.begin(), sorted.end());
  values.clear();
  double squares = 0;
  for (std::size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
    while (end < sorted.size() && sorted[end] == sorted[begin]) ++end;
    values.push_back(static_cast<double>(end - begin) * idf[static_cast<std::size_t>(sorted[begin])]);
    squares += values.back() * values.back();
    part.codes.push_back(sorted[begin]);
  }
  const double length = std::sqrt(squares);
  for (const double value : values) part.weights.push_back(static_cast<float>(value / length));
}

}  // namespace

std::vector<std::int64_t> document_counts(std::span<const std::int64_t> offsets, std::span<const Row> codes, Index vocabulary) {
  check_offsets("document_counts", "offsets", offsets, std::ssize(codes));
  check_rows("document_counts", "codes", codes, vocabulary);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(vocabulary));
  std::vector<Index> last_row(counts.size(), -1);
  for (Index row = 0; row + 1 < std::ssize(offsets); ++row)
    for (const Row code : list_of(offsets, codes, row)) {
      const auto place = static_cast<std::size_t>(code);
      if (last_row[place] != row) ++counts[place];
      last_row[place] = row;
    }
  return counts;
}

WeightedCodes tf_idf(std::span<const std::int64_t> offsets, std::span<const Row> codes, std::span<const double> idf,
                     const Threads& threads) {
  check_offsets(kName, "offsets", offsets, std::ssize(codes));
  check_rows(kName, "codes", codes, std::ssize(idf));
  for (const double value : idf) check_positive(kName, "idf", value);
  const Index rows = std::ssize(offsets) - 1;
  WeightedCodes found;
  found.offsets.assign(offsets.size(), 0);
  std::vector<Part> parts(static_cast<std::size_t>((rows + kBlock - 1) / kBlock));
  threads.for_blocks(rows, kBlock, [&](Index begin, Index end, Index block) {
    Part& part = parts[static_cast<std::size_t>(block)];
    std::vector<Row> sorted;
    std::vector<double> values;
    for (Index row = begin; row < end; ++row) {
      const Index before = std::ssize(part.codes);
      add_row(list_of(offsets, codes, row), idf, sorted, values, part);
      found.offsets[static_cast<std::size_t>(row) + 1] = std::ssize(part.codes) - before;
    }
  });
  std::partial_sum(found.offsets.begin(), found.offsets.end(), found.offsets.begin());
  found.codes.resize(static_cast<std::size_t>(found.offsets.back()));
  found.weights.resize(found.codes.size());
  threads.for_blocks(rows, kBlock, [&](Index begin, Index, Index block) {
    Part& part = parts[static_cast<std::size_t>(block)];
    const auto place = found.offsets[static_cast<std::size_t>(begin)];
    std::copy(part.codes.begin(), part.codes.end(), found.codes.begin() + place);
    std::copy(part.weights.begin(), part.weights.end(), found.weights.begin() + place);
    part = {};
  });
  return found;
}

}  // namespace twotower::data
