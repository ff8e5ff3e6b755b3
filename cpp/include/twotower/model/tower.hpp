#pragma once
// One side of the model: feature columns -> encoders -> one joined vector -> layers -> the entity's vector.
#include <variant>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/data/feature_table.hpp"
#include "twotower/nn/embedding.hpp"
#include "twotower/nn/parameters.hpp"
#include "twotower/nn/sequential.hpp"

namespace twotower::model {

using Encoder = std::variant<nn::Embedding, nn::Bag, nn::Numeric>;

/// One column's way into the joined vector.
struct Input {
  Index column;      // of the side's FeatureTable
  Index table = -1;  // of Parameters::tables; -1 for Numeric, whose parameters lie in the arena
  Encoder encoder;
};

/// Sum: all encoders have the same width and add up. Concatenate: each has its own slice.
enum class Join { kSum, kConcatenate };

struct TowerSpec {
  std::vector<Input> inputs;
  Join join = Join::kSum;
  nn::Sequential layers;
};

/// What a tower needs to remember of a batch between forward and backward; belongs to the caller, grows and is reused.
template <class Scalar>
struct TowerScratch {
  Matrix<Scalar> y, dy;                            // (n, out_width)
  Matrix<Scalar> cache;                            // (n, cache_width) joined, its gradient, the layers' cache
  std::vector<std::vector<nn::RowTouch>> touches;  // one list an input
  std::vector<std::vector<Scalar>> arenas;         // one gradient a group of blocks
};

/// const and without state, as a layer. Rows go in fixed blocks; one task runs the whole tower on its block.
class Tower {
 public:
  static constexpr Index kBlock = 128;  // rows a task: activations of a few hundred columns stay in L2
  static constexpr Index kGroups = 8;   // partial sums of the arena's gradient, whatever the threads

  /// Parameters of Numeric inputs and layers lie in the arena from `arena_begin` on.
  /// Throws invalid_argument where widths do not fit.
  Tower(TowerSpec spec, Index arena_begin);

  Index out_width() const { return spec_.layers.out_width(); }
  Index parameter_count() const { return parameter_count_; }
  const TowerSpec& spec() const { return spec_; }

  /// Throws where a column or table is missing, of another kind or too small: once, so that passes need not look.
  template <class Scalar>
  void check(const data::FeatureTable& features, const nn::Parameters<Scalar>& parameters) const;

  template <class Scalar>
  void initialize(nn::Parameters<Scalar>& parameters, std::uint64_t seed, std::uint64_t side) const;

  /// Sizes the scratch for these rows and notes which table rows they touch.
  template <class Scalar>
  void prepare(const data::FeatureTable& features, std::span<const Row> rows, TowerScratch<Scalar>& scratch) const;

  /// Adds what this tower contributes to a table's gradient; the gradients are there after backward().
  template <class Scalar>
  void add_sources(Index table, const TowerScratch<Scalar>& scratch,
                   std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const;

  /// Writes scratch.y.
  template <class Scalar>
  void forward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
               TowerScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const;

  /// From scratch.dy: adds to darena (the whole arena's gradient), leaves the gradients of the tables' rows in the scratch.
  template <class Scalar>
  void backward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                TowerScratch<Scalar>& scratch, std::span<Scalar> darena, const nn::Pass& pass, const Threads& threads) const;

  /// y (n, out_width): the vectors of these rows, outside training.
  template <class Scalar>
  void encode(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
              Rows<Scalar> y, const Threads& threads) const;

 private:
  /// Where an input's slice of the joined vector and its parameters begin.
  struct Place {
    Index slice, width, arena;
  };

  Index joined_width() const { return spec_.layers.in_width(); }
  Index gradient_begin() const;  // first column of the joined gradient in the cache
  Index layers_begin() const;    // first column of the layers' cache

  template <class Scalar>
  void encode_block(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                    Rows<Scalar> y, Rows<Scalar> cache, const nn::Pass& pass) const;
  template <class Scalar>
  void backward_block(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                      ConstRows<Scalar> dy, Rows<Scalar> cache, Scalar* darena, const nn::Pass& pass) const;

  TowerSpec spec_;
  std::vector<Place> places_;
  Index arena_begin_, layers_arena_ = 0, parameter_count_ = 0;
};

}  // namespace twotower::model
