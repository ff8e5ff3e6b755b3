#include "twotower/data/tf_idf.hpp"

#include <cmath>
#include <map>
#include <set>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower::data;
using twotower::Index;
using twotower::Row;
using twotower::Threads;

namespace {

using RowList = std::vector<Row>;
using Offsets = std::vector<std::int64_t>;
using Doubles = std::vector<double>;

}  // namespace

TEST_CASE("tf_idf: on paper") {
  // Row 0: code 2 twice at 1.5, code 1 once at 4: 3 and 4, length 5. Row 1 is empty. Row 2: one code, whatever its idf.
  const WeightedCodes found = tf_idf(Offsets{0, 3, 3, 4}, RowList{2, 1, 2, 0}, Doubles{1, 4, 1.5}, Threads(1));
  CHECK(found.offsets == Offsets{0, 2, 2, 3});
  CHECK(found.codes == RowList{1, 2, 0});
  CHECK(found.weights == std::vector<float>{0.8F, 0.6F, 1.0F});
}

TEST_CASE("tf_idf: agrees with maps, for any number of threads") {
  const Index rows = GENERATE(0, 1, 8193, 17000);
  const Row vocabulary = 23;
  twotower::RandomStream random(5, twotower::Purpose::kTest);
  Offsets offsets{0};
  RowList codes;
  Offsets documents(static_cast<std::size_t>(vocabulary));
  for (Index row = 0; row < rows; ++row) {
    std::set<Row> seen;
    for (Index k = random.below(8); k > 0; --k) {
      codes.push_back(static_cast<Row>(random.below(vocabulary)));
      seen.insert(codes.back());
    }
    for (const Row code : seen) ++documents[static_cast<std::size_t>(code)];
    offsets.push_back(std::ssize(codes));
  }
  CHECK(document_counts(offsets, codes, vocabulary) == documents);

  Doubles idf;
  for (const std::int64_t count : documents)
    idf.push_back(std::log(static_cast<double>(1 + rows) / static_cast<double>(1 + count)) + 1);
  const WeightedCodes one = tf_idf(offsets, codes, idf, Threads(1));
  std::size_t place = 0;
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    std::map<Row, double> values;
    for (auto k = offsets[row]; k < offsets[row + 1]; ++k) {
      const Row code = codes[static_cast<std::size_t>(k)];
      values[code] += idf[static_cast<std::size_t>(code)];
    }
    double squares = 0;
    for (const auto& [code, value] : values) squares += value * value;
    for (const auto& [code, value] : values) {
      REQUIRE(place < one.codes.size());
      CHECK(one.codes[place] == code);
      CHECK(one.weights[place] == Approx(value / std::sqrt(squares)).epsilon(1e-6));
      ++place;
    }
    REQUIRE(one.offsets[row + 1] == static_cast<std::int64_t>(place));
  }
  for (const int num_threads : {2, 7}) {
    const WeightedCodes other = tf_idf(offsets, codes, idf, Threads(num_threads));
    CHECK(other.offsets == one.offsets);
    CHECK(other.codes == one.codes);
    CHECK(other.weights == one.weights);
  }
}

TEST_CASE("tf_idf: refuses what does not fit") {
  const RowList codes{0, 2};
  const Offsets offsets{0, 2};
  CHECK_THROWS_WITH(tf_idf(offsets, codes, Doubles{1, 1}, Threads(1)), "tf_idf: codes[1] is 2, but must be in [0, 2)");
  CHECK_THROWS_WITH(tf_idf(offsets, codes, Doubles{1, 1, 0}, Threads(1)),
                    "tf_idf: idf is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(tf_idf(Offsets{0, 1}, codes, Doubles{1, 1, 1}, Threads(1)),
                    "tf_idf: offsets runs from 0 to 1, but must run from 0 to 2");
  CHECK_THROWS_WITH(document_counts(offsets, codes, 2), "document_counts: codes[1] is 2, but must be in [0, 2)");
}
