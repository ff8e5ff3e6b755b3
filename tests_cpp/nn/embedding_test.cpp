#include "twotower/nn/embedding.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::ConstRowMap;
using twotower::ConstRows;
using twotower::Index;
using twotower::Matrix;
using twotower::RandomStream;
using twotower::Row;
using twotower::Rows;
using twotower::nn::Bag;
using twotower::nn::Embedding;
using twotower::nn::Lists;
using twotower::nn::Numeric;
using twotower::nn::Pass;
using twotower::nn::Pooling;
using twotower::nn::RowTouch;

namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr Index kEntities = 6;
const std::vector<Row> kCodes{3, 0, -1, 3, 1, 4};
const std::vector<std::int64_t> kOffsets{0, 2, 2, 5, 6, 7, 9};
const std::vector<Row> kBagCodes{0, 3, 1, 1, 4, 2, 0, 4, 3};
const std::vector<float> kWeights{1, 0.5F, 2, 3, 0.25F, 0, 1, 0, 0};
const std::vector<float> kValues{0.5F, kMissing, -2, 0, kMissing, 3};

template <class Scalar>
ConstRowMap<Scalar> table_view(const Scalar* values, Index width) {
  return {values, 5, width, Eigen::OuterStride<>(width)};
}

/// What an Embedding gets of a batch.
std::vector<Row> codes_of(std::span<const Row> rows) {
  std::vector<Row> codes;
  for (const Row row : rows) codes.push_back(kCodes[static_cast<std::size_t>(row)]);
  return codes;
}

/// Rows of a batch: every entity, some of them again.
std::vector<Row> batch(Index rows) {
  std::vector<Row> result;
  for (Index i = 0; i < rows; ++i) result.push_back(static_cast<Row>(i * 7 % kEntities));
  return result;
}

/// An encoder as a layer without inputs, its table of five rows as parameters: so the one checker judges encoders too.
template <class Encode, class Touches>
struct TableLayer {
  static constexpr std::string_view kName = "TableLayer";
  Index width;
  Encode encode;
  Touches touches;

  Index in_width() const { return 0; }
  Index out_width() const { return width; }
  Index parameter_count() const { return 5 * width; }
  Index cache_width() const { return 0; }

  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
    y.setZero();
    encode(table_view(parameters, width), batch(x.rows()), y);
  }

  template <class Scalar>
  void backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar>, Scalar* dparameters,
                const Pass&) const {
    std::vector<RowTouch> touched;
    touches(batch(x.rows()), touched);
    for (const RowTouch& touch : touched)
      Eigen::Map<twotower::RowVector<Scalar>>(dparameters + touch.row * width, width) += dy.row(touch.position) * touch.scale;
  }
};

template <class Encode, class Touches>
void check_table_gradient(Index width, Index rows, const Encode& encode, const Touches& touches) {
  using Checked = TableLayer<Encode, Touches>;
  const Checked layer{width, encode, touches};
  CHECK(twotower::test::gradient_error(layer, rows) < 1);
  CHECK(twotower::test::gradient_error(twotower::test::WrongParameterGradient<Checked>{layer}, rows) > 1000);
}

struct NumericLayer {
  static constexpr std::string_view kName = "NumericLayer";
  Numeric numeric;

  Index in_width() const { return 0; }
  Index out_width() const { return numeric.width; }
  Index parameter_count() const { return numeric.parameter_count(); }
  Index cache_width() const { return 0; }

  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> x, Rows<Scalar> y, Rows<Scalar>, const Pass&) const {
    y.setZero();
    numeric.forward<Scalar>(parameters, kValues, batch(x.rows()), y);
  }
  template <class Scalar>
  void backward(const Scalar*, ConstRows<Scalar> x, Rows<Scalar>, ConstRows<Scalar> dy, Rows<Scalar>, Scalar* dparameters,
                const Pass&) const {
    numeric.backward<Scalar>(kValues, batch(x.rows()), dy, dparameters);
  }
};

std::vector<std::tuple<Row, Row, float>> plain(const std::vector<RowTouch>& touches) {
  std::vector<std::tuple<Row, Row, float>> result;
  for (const RowTouch& touch : touches) result.emplace_back(touch.row, touch.position, touch.scale);
  return result;
}

}  // namespace

TEST_CASE("Embedding, Bag, Numeric: gradients agree with differences, sabotaged ones do not") {
  const Index width = GENERATE(1, 2, 3, 17, 64), rows = GENERATE(0, 1, 5, 33);
  check_table_gradient(
      width, rows,
      [&](const auto& table, const auto& batch_rows, auto& y) { Embedding{width}.forward(table, codes_of(batch_rows), y); },
      [&](const auto& batch_rows, auto& out) { Embedding{width}.touches(codes_of(batch_rows), out); });
  for (const Pooling pooling : {Pooling::kMean, Pooling::kSum, Pooling::kSqrtN})
    for (const std::span<const float> weights : {std::span<const float>(), std::span<const float>(kWeights)}) {
      const Lists lists{kOffsets, kBagCodes, weights};
      check_table_gradient(
          width, rows,
          [&](const auto& table, const auto& batch_rows, auto& y) { Bag{width, pooling}.forward(table, lists, batch_rows, y); },
          [&](const auto& batch_rows, auto& out) { Bag{width, pooling}.touches(lists, batch_rows, out); });
    }
  CHECK(twotower::test::gradient_error(NumericLayer{{width}}, rows) < 1);
  CHECK(twotower::test::gradient_error(twotower::test::WrongParameterGradient<NumericLayer>{{{width}}}, rows) > 1000);
}

TEST_CASE("Embedding: adds the rows of its codes, nothing for a negative code, into any slice") {
  Matrix<float> table(5, 2), joined = Matrix<float>::Constant(4, 6, 100);
  table << 0, 1, 10, 11, 20, 21, 30, 31, 40, 41;
  const std::vector<Row> rows{5, 2, 0, 3};  // codes 4, none, 3, 3
  Embedding{2}.forward<float>(table_view(table.data(), 2), codes_of(rows), joined.middleCols(3, 2));
  Matrix<float> wanted = Matrix<float>::Constant(4, 6, 100);
  wanted.middleCols(3, 2) << 140, 141, 100, 100, 130, 131, 130, 131;
  CHECK(joined == wanted);

  std::vector<RowTouch> touches{{9, 9, 9}};
  Embedding{2}.touches(codes_of(rows), touches);
  CHECK(plain(touches) == std::vector<std::tuple<Row, Row, float>>{{9, 9, 9}, {4, 0, 1}, {3, 2, 1}, {3, 3, 1}});
}

TEST_CASE("Bag: pooling done on paper") {
  // Entity 2 has codes 1, 1, 4 with weights 2, 3, .25. The table's row r holds 10 r, so the weighted sum is 20 + 30 + 10 = 60.
  //   mean 60 / 5.25; sum 60; root 60 / sqrt(4 + 9 + .0625) = 60 / 3.614208...; without weights 60 / 3, 60, 60 / sqrt(3).
  const Matrix<double> table = (Matrix<double>(5, 1) << 0, 10, 20, 30, 40).finished();
  const std::vector<Row> rows{2};
  const auto pooled = [&](Pooling pooling, std::span<const float> weights) {
    Matrix<double> y = Matrix<double>::Constant(1, 1, 1000);
    Bag{1, pooling}.forward<double>(table_view(table.data(), 1), {kOffsets, kBagCodes, weights}, rows, y);
    return y(0, 0) - 1000;
  };
  const auto about = [](double value) { return Approx(value).epsilon(1e-6); };  // scales are float
  CHECK(pooled(Pooling::kMean, kWeights) == about(60 / 5.25));
  CHECK(pooled(Pooling::kSum, kWeights) == about(60));
  CHECK(pooled(Pooling::kSqrtN, kWeights) == about(60 / std::sqrt(13.0625)));
  CHECK(pooled(Pooling::kMean, {}) == about(20));
  CHECK(pooled(Pooling::kSum, {}) == about(60));
  CHECK(pooled(Pooling::kSqrtN, {}) == about(60 / std::sqrt(3.0)));
}

TEST_CASE("Bag: an empty list, or one without weight, adds nothing and touches nothing") {
  const Pooling pooling = GENERATE(Pooling::kMean, Pooling::kSqrtN);
  const std::vector<Row> rows{1, 5, 3};  // no codes; weights 0, 0; weight 0
  const Matrix<float> table = Matrix<float>::Ones(5, 3);
  Matrix<float> y = Matrix<float>::Constant(3, 3, 8);
  std::vector<RowTouch> touches;
  const Lists lists{kOffsets, kBagCodes, kWeights};
  Bag{3, pooling}.forward<float>(table_view(table.data(), 3), lists, rows, y);
  Bag{3, pooling}.touches(lists, rows, touches);
  CHECK((y.array() == 8).all());
  CHECK(touches.empty());
}

TEST_CASE("Bag: touches every code of every list in order, with its scale") {
  std::vector<RowTouch> touches;
  Bag{3, Pooling::kMean}.touches({kOffsets, kBagCodes, {}}, std::vector<Row>{2, 1, 0}, touches);
  const float third = 1.0F / 3;
  CHECK(plain(touches) ==
        std::vector<std::tuple<Row, Row, float>>{{1, 0, third}, {1, 0, third}, {4, 0, third}, {0, 2, 0.5F}, {3, 2, 0.5F}});
}

TEST_CASE("Numeric: a value and a missing value done on paper") {
  // a = (2, 3), b = (10, 20), c = (7, 8). Value .5: (1, 1.5) + (10, 20) = (11, 21.5). Missing: (7, 8).
  const std::vector<double> parameters{2, 3, 10, 20, 7, 8};
  const std::vector<Row> rows{0, 1};
  Matrix<double> y = Matrix<double>::Constant(2, 2, 100), dy(2, 2);
  dy << 1, 2, 3, 4;
  Numeric{2}.forward<double>(parameters.data(), kValues, rows, y);
  CHECK(y == (Matrix<double>(2, 2) << 111, 121.5, 107, 108).finished());
  std::vector<double> dparameters(6, 100);
  Numeric{2}.backward<double>(kValues, rows, dy, dparameters.data());
  CHECK(dparameters == std::vector<double>{100.5, 101, 101, 102, 103, 104});
}

TEST_CASE("Numeric: starts small, with b at zero") {
  const Numeric numeric{500, 0.02};
  Matrix<float> parameters = Matrix<float>::Constant(1, numeric.parameter_count(), 9);
  RandomStream random(1, twotower::Purpose::kInitialize);
  numeric.initialize(parameters.data(), random);
  CHECK((parameters.middleCols(500, 500).array() == 0).all());
  for (const Index first : {0, 1000})  // 500 draws: standard error of the deviation 3.2 %
    CHECK(std::sqrt(parameters.middleCols(first, 500).array().square().mean()) == Approx(0.02).epsilon(0.15));
}

TEST_CASE("Embedding, Bag, Numeric: nothing is allocated in a second step") {
  if (!twotower::test::kCountsAllocations) return;
  const std::vector<Row> rows = batch(33);
  const Matrix<float> table = Matrix<float>::Ones(5, 17), dy = Matrix<float>::Ones(33, 17);
  Matrix<float> y = Matrix<float>::Zero(33, 17), parameters = Matrix<float>::Zero(1, 51);
  std::vector<RowTouch> touches;
  const auto codes = codes_of(rows);
  const auto step = [&] {
    touches.clear();
    Embedding{17}.forward<float>(table_view(table.data(), 17), codes, y);
    Embedding{17}.touches(codes, touches);
    Bag{17}.forward<float>(table_view(table.data(), 17), {kOffsets, kBagCodes, kWeights}, rows, y);
    Bag{17}.touches({kOffsets, kBagCodes, kWeights}, rows, touches);
    Numeric{17}.forward<float>(parameters.data(), kValues, rows, y);
    Numeric{17}.backward<float>(kValues, rows, dy, parameters.data());
  };
  step();
  CHECK(twotower::test::allocations_of(step) == 0);
}
