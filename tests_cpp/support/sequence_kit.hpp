#pragma once
// What every sequence encoder must do, whatever it computes. An encoder's own test calls check_sequence_encoder for its sizes and
// adds what only it knows.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/layer_kit.hpp"
#include "twotower/nn/sequences.hpp"

namespace twotower::test {

/// Sequences that own their memory. The first and the last one are strangers, which view() leaves out: their codes lead to
/// element 0, which is NaN, their weights are NaN and their readers have impossible lengths.
struct SequenceCase {
  std::vector<std::int64_t> offsets{0}, readers{0};
  std::vector<Row> codes;
  std::vector<float> weights;
  std::vector<std::int32_t> lengths;
  Index element_rows = 1;

  /// Appends a sequence; its weights count only if no sequence is without them.
  void add(const std::vector<Row>& its_codes, const std::vector<float>& its_weights,
           const std::vector<std::int32_t>& its_lengths) {
    codes.insert(codes.end(), its_codes.begin(), its_codes.end());
    weights.insert(weights.end(), its_weights.begin(), its_weights.end());
    lengths.insert(lengths.end(), its_lengths.begin(), its_lengths.end());
    offsets.push_back(std::ssize(codes));
    readers.push_back(std::ssize(lengths));
    for (const Row code : its_codes) element_rows = std::max(element_rows, Index{code} + 1);
  }

  void add_stranger(bool weighted) {
    constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
    add({0, 0, 0}, weighted ? std::vector<float>{kNaN, kNaN, kNaN} : std::vector<float>{}, {1 << 30, -(1 << 30)});
  }

  Index count() const { return std::ssize(offsets) - 3; }

  nn::Sequences view() const { return nn::Sequences{offsets, codes, weights, readers, lengths}.part(1, std::ssize(offsets) - 2); }
};

/// One sequence between two strangers.
inline SequenceCase one_sequence(const std::vector<Row>& codes, const std::vector<float>& weights,
                                 const std::vector<std::int32_t>& lengths) {
  SequenceCase input;
  input.add_stranger(!weights.empty());
  input.add(codes, weights, lengths);
  input.add_stranger(!weights.empty());
  return input;
}

/// `count` sequences of up to `longest` elements out of 11, one at least of that length: some empty, some without readers, with
/// repeated codes, with readers of length 0, of the full length and of repeated lengths, in any order. With weights some are 0,
/// and every sixth sequence weighs nothing at all.
inline SequenceCase random_sequences(Index count, Index longest, bool weighted, std::uint64_t number) {
  RandomStream random(number, Purpose::kTest, 77);
  SequenceCase result;
  result.add_stranger(weighted);
  for (Index i = 0; i < count; ++i) {
    const Index length = i == 0 ? longest : i % 5 == 3 ? 0 : random.below(longest + 1);
    std::vector<Row> codes;
    std::vector<float> weights;
    for (Index j = 0; j < length; ++j) {
      codes.push_back(static_cast<Row>(1 + random.below(11)));
      const bool nothing = i % 6 == 4 || random.below(4) == 0;
      if (weighted) weights.push_back(nothing ? 0.0F : static_cast<float>(0.25 + 2 * random.uniform()));
    }
    std::vector<std::int32_t> lengths;
    if (i % 7 != 5) lengths = {static_cast<std::int32_t>(length)};
    for (Index j = random.below(4); i % 7 != 5 && j > 0; --j)
      lengths.push_back(static_cast<std::int32_t>(random.below(length + 1)));
    if (i % 3 == 1) lengths.insert(lengths.begin(), 2, 0);
    if (i % 3 == 2) std::reverse(lengths.begin(), lengths.end());
    result.add(codes, weights, lengths);
  }
  result.add_stranger(weighted);
  result.element_rows = 12;
  return result;
}

/// One sequence of the case with one reader, cut to the reader's length: nothing else is in the call.
inline SequenceCase alone(const nn::Sequences& all, Index sequence, std::int64_t reader, Index element_rows) {
  const auto begin = static_cast<std::ptrdiff_t>(all.offsets[static_cast<std::size_t>(sequence)]);
  const std::int32_t length = all.lengths[static_cast<std::size_t>(reader)];
  const bool weighted = !all.weights.empty();
  SequenceCase result;
  result.add_stranger(weighted);
  const auto cut = [&](const auto& values) { return std::vector(values.begin() + begin, values.begin() + begin + length); };
  result.add(cut(all.codes), weighted ? cut(all.weights) : std::vector<float>{}, {length});
  result.add_stranger(weighted);
  result.element_rows = element_rows;
  return result;
}

/// Everything that one forward and backward needs, with the same numbers each time: what is written starts from NaN, what is
/// added to from ones. A NaN stays in element 0, which belongs to strangers.
template <class Scalar>
struct SequenceRun {
  static constexpr Scalar kNaN = std::numeric_limits<Scalar>::quiet_NaN();
  Matrix<Scalar> elements, y, dy, dpositions, parameters, dparameters;
  std::vector<Scalar> cache;

  template <class Encoder>
  SequenceRun(const Encoder& encoder, const SequenceCase& input)
      : elements(random_matrix<Scalar>(input.element_rows, encoder.width, 21)),
        y(Matrix<Scalar>::Constant(input.view().rows(), encoder.width, kNaN)),
        dy(random_matrix<Scalar>(input.view().rows(), encoder.width, 23)),
        dpositions(Matrix<Scalar>::Constant(input.view().positions(), encoder.width, kNaN)),
        parameters(random_matrix<Scalar>(1, encoder.parameter_count(), 22)),
        dparameters(Matrix<Scalar>::Ones(1, encoder.parameter_count())),
        cache(5000, kNaN) {
    elements.row(0).setConstant(kNaN);
  }

  template <class Encoder>
  void step(const Encoder& encoder, const nn::Sequences& sequences, const nn::Pass& pass) {
    encoder.template forward<Scalar>(parameters.data(), elements, sequences, y, cache, pass);
    encoder.template backward<Scalar>(parameters.data(), elements, sequences, dy, dpositions, cache, dparameters.data(), pass);
  }
};

/// gradient_error of support/gradcheck.hpp for a sequence encoder: over the elements, whose gradients come from those of the
/// positions, and over the parameters (some 500 of them, the last included, where there are more). Below 1 is right.
template <class Encoder>
double gradient_error(const Encoder& encoder, const SequenceCase& input, const nn::Pass& pass = {}) {
  constexpr double kStep = 1e-6;
  const nn::Sequences sequences = input.view();
  SequenceRun<double> run(encoder, input);
  run.step(encoder, sequences, pass);
  run.dparameters.array() -= 1;
  Matrix<double> delements = Matrix<double>::Zero(input.element_rows, encoder.width), above = run.y, below = run.y;
  for (Index p = 0; p < sequences.positions(); ++p)
    delements.row(sequences.codes[static_cast<std::size_t>(sequences.offsets[0] + p)]) += run.dpositions.row(p);

  double worst = 0;
  const auto compare = [&](double& value, double analytic) {
    const double kept = value;
    value = kept + kStep;
    encoder.template forward<double>(run.parameters.data(), run.elements, sequences, above, run.cache, pass);
    value = kept - kStep;
    encoder.template forward<double>(run.parameters.data(), run.elements, sequences, below, run.cache, pass);
    value = kept;
    const double numeric = (above - below).cwiseProduct(run.dy).sum() / (2 * kStep);
    const double error = std::abs(numeric - analytic) / std::max(1.0, std::abs(analytic));
    worst = error <= worst ? worst : error;  // a NaN is the worst
  };
  for (Index k = 0; k < run.elements.size(); ++k) compare(run.elements.data()[k], delements.data()[k]);
  const Index count = run.parameters.size(), stride = std::max<Index>(1, count / 500);
  for (Index k = count - 1; k >= 0; k -= stride) compare(run.parameters.data()[k], run.dparameters.data()[k]);
  const double largest = run.y.size() == 0 ? 0 : run.y.cwiseAbs().maxCoeff();
  const double rounding = std::numeric_limits<double>::epsilon() / kStep * (1 + largest) *
                          static_cast<double>(sequences.rows() + sequences.positions() + 2 * encoder.width);
  return std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst / rounding;
}

/// An encoder whose dpositions are wrong by a hundredth of dy's mean size.
template <class Encoder>
struct WrongPositionGradient : Encoder {
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> elements, const nn::Sequences& sequences, ConstRows<Scalar> dy,
                Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const nn::Pass& pass) const {
    Encoder::template backward<Scalar>(parameters, elements, sequences, dy, dpositions, cache, dparameters, pass);
    dpositions.array() += Scalar(0.01) * dy.cwiseAbs().mean();
  }
};

/// An encoder whose last parameter's gradient is wrong by a hundredth.
template <class Encoder>
struct WrongSequenceParameterGradient : Encoder {
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> elements, const nn::Sequences& sequences, ConstRows<Scalar> dy,
                Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const nn::Pass& pass) const {
    Encoder::template backward<Scalar>(parameters, elements, sequences, dy, dpositions, cache, dparameters, pass);
    dparameters[Encoder::parameter_count() - 1] += Scalar(0.01);
  }
};

template <class Encoder>
void check_gradients(const Encoder& encoder, const SequenceCase& input, const nn::Pass& pass, double condition) {
  CHECK(gradient_error(encoder, input, pass) < condition);
  const nn::Sequences sequences = input.view();
  if (sequences.positions() > 0 && sequences.rows() > 0)
    CHECK(gradient_error(WrongPositionGradient<Encoder>{encoder}, input, pass) > 1000);
  CHECK(gradient_error(WrongSequenceParameterGradient<Encoder>{encoder}, input, pass) > 1000);
}

/// Outside training every reader has the same bits in company, with its own sequence only, and alone, its sequence cut to what it
/// may see.
template <class Encoder>
void check_companions(const Encoder& encoder, const SequenceCase& input) {
  const nn::Sequences all = input.view();
  SequenceRun<float> whole(encoder, input);
  const auto forward = [&](const nn::Sequences& sequences, SequenceRun<float>& run, Rows<float> y) {
    encoder.template forward<float>(run.parameters.data(), run.elements, sequences, y, run.cache, {});
  };
  forward(all, whole, whole.y);
  Index row = 0;
  for (Index s = 0; s < all.count(); ++s) {
    const nn::Sequences one = all.part(s, s + 1);
    SequenceRun<float> single(encoder, input);
    forward(one, single, single.y.middleRows(row, one.rows()));
    CHECK(same_bytes<float>(single.y.middleRows(row, one.rows()), whole.y.middleRows(row, one.rows())));
    for (std::int64_t reader = one.readers[0]; reader < one.readers[1]; ++reader, ++row) {
      const SequenceCase only = alone(all, s, reader, input.element_rows);
      SequenceRun<float> cut(encoder, only);
      forward(only.view(), cut, cut.y);
      CHECK(same_bytes<float>(cut.y, whole.y.row(row)));
    }
  }
}

/// The call in two parts gives what the whole gives; parameter gradients add up.
template <class Encoder>
void check_parts(const Encoder& encoder, const SequenceCase& input, double tolerance) {
  const nn::Sequences all = input.view();
  SequenceRun<double> whole(encoder, input), parts(encoder, input);
  whole.step(encoder, all, {});
  const Index middle = all.count() / 3;
  Index row = 0, position = 0;
  for (const auto& [first, last] : {std::pair<Index, Index>{0, middle}, {middle, all.count()}}) {
    const nn::Sequences part = all.part(first, last);
    auto y = parts.y.middleRows(row, part.rows()), dy = parts.dy.middleRows(row, part.rows());
    auto dpositions = parts.dpositions.middleRows(position, part.positions());
    encoder.template forward<double>(parts.parameters.data(), parts.elements, part, y, parts.cache, {});
    encoder.template backward<double>(parts.parameters.data(), parts.elements, part, dy, dpositions, parts.cache,
                                      parts.dparameters.data(), {});
    row += part.rows();
    position += part.positions();
  }
  CHECK(distance(parts.y, whole.y) < tolerance);
  CHECK(distance(parts.dpositions, whole.dpositions) < tolerance);
  CHECK(distance(parts.dparameters, whole.dparameters) < tolerance);
}

/// Rows that lie apart give the same bytes wherever in memory they start, and nothing beside them changes.
template <class Encoder>
void check_sequence_views(const Encoder& encoder, const SequenceCase& input, const nn::Pass& pass, double tolerance) {
  SequenceRun<float> plain(encoder, input), first(encoder, input);
  plain.step(encoder, input.view(), pass);
  for (const Index before : {0, 1, 3, 4, 8, 13}) {
    SequenceRun<float> run(encoder, input);
    Framed<float> elements(run.elements, before), y(run.y, before), dy(run.dy, before), dpositions(run.dpositions, before);
    RowMap<float> y_view = y.view(), dpositions_view = dpositions.view();
    encoder.template forward<float>(run.parameters.data(), elements.view(), input.view(), y_view, run.cache, pass);
    encoder.template backward<float>(run.parameters.data(), elements.view(), input.view(), dy.view(), dpositions_view, run.cache,
                                     run.dparameters.data(), pass);
    CHECK((elements.frame_is_whole() && y.frame_is_whole() && dy.frame_is_whole() && dpositions.frame_is_whole()));
    run.y = y_view;
    run.dpositions = dpositions_view;
    if (before == 0) first = run;
    CHECK((same_bytes(run.y, first.y) && same_bytes(run.dpositions, first.dpositions)));
    CHECK(same_bytes(run.dparameters, first.dparameters));
  }
  CHECK(distance(first.y, plain.y) < tolerance);
  CHECK(distance(first.dpositions, plain.dpositions) < tolerance);
  CHECK(distance(first.dparameters, plain.dparameters) < tolerance);
}

/// All of the above. condition: how much the encoder may enlarge the rounding of its input, 1 for one that only adds and
/// multiplies. The input should be small enough for Eigen's products to stay off the heap.
template <class Encoder>
void check_sequence_encoder(const Encoder& encoder, const SequenceCase& input, const nn::Pass& pass = {}, double condition = 1) {
  static_assert(nn::IsSequenceEncoder<Encoder>);
  const nn::Sequences sequences = input.view();
  INFO(std::string(Encoder::kName) << " " << encoder.width << ", sequences " << sequences.count() << ", positions "
                                   << sequences.positions() << ", rows " << sequences.rows());
  CHECK_NOTHROW(encoder.check());
  check_gradients(encoder, input, pass, condition);

  const Index terms = sequences.rows() + sequences.positions() + encoder.width;
  SequenceRun<float> single(encoder, input);
  SequenceRun<double> exact(encoder, input);
  single.step(encoder, sequences, pass);
  exact.step(encoder, sequences, pass);
  CHECK(distance(single.y, exact.y) < float_tolerance(terms, condition));
  CHECK(distance(single.dpositions, exact.dpositions) < float_tolerance(terms, condition));
  CHECK(distance(single.dparameters, exact.dparameters) < float_tolerance(terms, condition));

  check_companions(encoder, input);
  check_parts(encoder, input, condition * 1e-13 * static_cast<double>(terms));
  check_sequence_views(encoder, input, pass, float_tolerance(terms, condition));
  if (kCountsAllocations) CHECK(allocations_of([&] { single.step(encoder, sequences, pass); }) == 0);
}

}  // namespace twotower::test
