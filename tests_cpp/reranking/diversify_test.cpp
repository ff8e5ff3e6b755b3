#include "twotower/reranking/diversify.hpp"

#include <cmath>
#include <set>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using reranking::Candidates;
using reranking::Cap;

namespace {

using RowList = std::vector<Row>;
using Offsets = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Matrix<Row> picked(const Candidates& candidates, const Matrix<float>& vectors, std::vector<Cap> caps, double trade_off, Index k,
                   int threads = 1) {
  Matrix<Row> out(std::ssize(candidates.offsets) - 1, k);
  reranking::diversify(candidates, vectors, caps, trade_off, Threads(threads), out);
  return out;
}

Matrix<Row> row(const RowList& values) { return Eigen::Map<const Matrix<Row>>(values.data(), 1, std::ssize(values)); }

}  // namespace

TEST_CASE("diversify: on paper") {
  // Two alike, one across, scores 4, 3, 2: relevance 1, 1/2, 0.
  const Matrix<float> vectors{{1, 0}, {1, 0}, {0, 1}};
  const Offsets offsets{0, 3};
  const RowList items{0, 1, 2};
  const Floats scores{4, 3, 2};
  const Candidates candidates{offsets, items, scores};
  CHECK(picked(candidates, vectors, {}, 1, 3) == row({0, 1, 2}));
  // Second place at 0.5: 0.25 - 0.5 against 0 - 0.
  CHECK(picked(candidates, vectors, {}, 0.5, 3) == row({0, 2, 1}));
  CHECK(picked(candidates, vectors, {}, 0.5, 4) == row({0, 2, 1, -1}));
  CHECK(picked(candidates, Matrix<float>(3, 0), {}, 0.5, 2) == row({0, 1}));
}

TEST_CASE("diversify: a cap leaves out what there is enough of") {
  const Offsets offsets{0, 4}, code_offsets{0, 1, 3, 4, 4};
  const RowList items{0, 1, 2, 3}, codes{0, 0, 1, 1};
  const Floats scores{4, 3, 2, 1};
  const Candidates candidates{offsets, items, scores};
  CHECK(picked(candidates, Matrix<float>(4, 0), {{code_offsets, codes, 2, 1}}, 1, 4) == row({0, 2, 3, -1}));
  CHECK(picked(candidates, Matrix<float>(4, 0), {{code_offsets, codes, 2, 2}}, 1, 4) == row({0, 1, 2, 3}));
}

TEST_CASE("diversify: agrees with every choice tried, for any number of threads") {
  const Index width = GENERATE(1, 16, 19);
  Matrix<float> vectors = test::random_matrix<float>(60, width, 1);
  vectors.rowwise().normalize();
  const double trade_off = GENERATE(0.0, 0.3, 0.8);
  constexpr Index kWanted = 7;
  RandomStream random(2, Purpose::kTest);
  Offsets offsets{0}, code_offsets{0};
  RowList items, codes;
  Floats scores;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{40}}) {
    std::set<Row> list;
    while (list.size() < size) list.insert(static_cast<Row>(random.below(60)));
    for (const Row item : list) {
      items.push_back(item);
      scores.push_back(static_cast<float>(random.uniform()));
    }
    offsets.push_back(std::ssize(items));
  }
  for (int item = 0; item < 60; ++item) {
    codes.push_back(static_cast<Row>(random.below(4)));
    code_offsets.push_back(std::ssize(codes));
  }
  const std::vector<Cap> caps{{code_offsets, codes, 4, 2}};
  const Matrix<Row> found = picked({offsets, items, scores}, vectors, caps, trade_off, kWanted);
  for (Index list = 0; list < 4; ++list) {
    const auto begin = static_cast<std::size_t>(offsets[static_cast<std::size_t>(list)]);
    const auto size = static_cast<std::size_t>(offsets[static_cast<std::size_t>(list) + 1]) - begin;
    float low = 1, high = 0;
    for (std::size_t c = 0; c < size; ++c) {
      low = std::min(low, scores[begin + c]);
      high = std::max(high, scores[begin + c]);
    }
    std::vector<std::size_t> before;
    std::vector<int> counts(4);
    for (Index place = 0; place < kWanted; ++place) {
      std::vector<double> values(size, -10);
      double best = -10;
      for (std::size_t c = 0; c < size; ++c) {
        const Row item = items[begin + c];
        if (std::find(before.begin(), before.end(), c) != before.end() ||
            counts[static_cast<std::size_t>(codes[static_cast<std::size_t>(item)])] == 2)
          continue;
        const double relevance = high > low ? static_cast<double>((scores[begin + c] - low) / (high - low)) : 1;
        double like = before.empty() ? 0 : -10;
        for (const std::size_t other : before)
          like = std::max(like, static_cast<double>(vectors.row(item).dot(vectors.row(items[begin + other]))));
        values[c] = trade_off * relevance - (1 - trade_off) * like;
        best = std::max(best, values[c]);
      }
      const Row choice = found(list, place);
      if (best == -10) {
        CHECK(choice == -1);
        continue;
      }
      REQUIRE(choice >= 0);
      // Rounding may decide between choices that are as good as equal.
      CHECK(values[static_cast<std::size_t>(choice)] == Approx(best).margin(1e-5));
      before.push_back(static_cast<std::size_t>(choice));
      ++counts[static_cast<std::size_t>(codes[static_cast<std::size_t>(items[begin + static_cast<std::size_t>(choice)])])];
    }
  }
  for (const int threads : {2, 7}) CHECK(picked({offsets, items, scores}, vectors, caps, trade_off, kWanted, threads) == found);
}

TEST_CASE("diversify: refuses what does not fit") {
  const Offsets offsets{0, 1};
  const RowList items{1}, codes{1};
  const Floats scores{1}, bad{NAN};
  const Matrix<float> vectors = Matrix<float>::Ones(2, 1);
  CHECK_THROWS_WITH(picked({offsets, items, scores}, vectors.topRows(1), {}, 1, 1),
                    "diversify: items[0] is 1, but must be in [0, 1)");
  CHECK_THROWS_WITH(picked({offsets, items, scores}, vectors, {}, 2, 1), "diversify: trade_off is 2, but must be in [0, 1]");
  CHECK_THROWS_WITH(picked({offsets, items, bad}, vectors, {}, 1, 1), "diversify: scores[0] is nan, but must be a finite number");
  CHECK_THROWS_WITH(picked({offsets, items, scores}, vectors, {{Offsets{0, 0, 1}, codes, 1, 1}}, 1, 1),
                    "diversify: codes of a cap[0] is 1, but must be in [0, 1)");
  CHECK_THROWS_WITH(picked({offsets, items, scores}, vectors, {}, 1, 0), "diversify: k is 0, but must be at least 1");
}
