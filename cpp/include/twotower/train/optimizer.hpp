#pragma once
// From gradients to new parameters. Sees parameters, never a layer.
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/nn/parameters.hpp"
#include "twotower/nn/row_gradients.hpp"

namespace twotower::train {

enum class OptimizerKind { kSgd, kAdagrad, kRowwiseAdagrad, kAdam, kLazyAdam };

/// How to update. Fields that a kind does not use are ignored.
///
///   Sgd               w -= rate g
///   Adagrad           s += g^2,  w -= rate g / (sqrt(s) + epsilon), every element on its own
///   Rowwise Adagrad   the same with one s a row, its mean g^2; the arena of the layers goes element by element
///   Adam, AdamW       m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,  w -= rate mhat / (sqrt(vhat) + epsilon)
///   Lazy Adam         the same, but a row that a step does not touch keeps m, v and w
///
/// weight_decay (AdamW's, decoupled; for Adam and Lazy Adam): w -= rate weight_decay w.
///
/// Source      Duchi, Hazan, Singer 2011; Kingma, Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov, Hutter 2019,
/// arXiv:1711.05101
struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::kAdam;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;

  void check() const;
};

/// What an optimizer remembers between two trainings: the first and second moments (or sums of squares) of the arena and of each
/// table, empty where a kind has none.
template <class Scalar>
struct OptimizerState {
  std::int64_t steps = 0;
  std::vector<Matrix<Scalar>> first, second;  // [0] the arena's, one row; [k + 1] those of table k
};

/// Run state of an optimizer over one set of parameters.
///
/// Adam moves every row at every step, even one without a gradient, which would cost the whole table each time. Here a row
/// remembers the last step it took part in and takes the missed ones when it is next read (catch_up) or at the end (finish): m
/// and v only shrink meanwhile, so the missed moves die out with (beta1 / sqrt(beta2))^k and those below kForgotten of the first
/// are not taken. Where epsilon beside sqrt(v) hardly changes over the missed moves, as it does after the first few hundred
/// steps, their sum is taken at once (see Rest), equal to rounding; so a finish() in between may change last bits.
///
/// A step:  catch_up(every row that will be read); forward, backward; begin_step(rate); update_rows, update_arena. Up to
/// begin_step a step can be given up: nothing of it stays.
template <class Scalar>
class Optimizer {
 public:
  static constexpr double kForgotten = 1e-6;

  Optimizer(const OptimizerSpec& spec, const nn::Parameters<Scalar>& parameters);

  void begin_step(double learning_rate);

  /// Brings rows of a table to the state of the last step. Rows ascending and distinct.
  void catch_up(nn::Parameters<Scalar>& parameters, Index table, std::span<const Row> rows, const Threads& threads);

  /// Updates the rows that have a gradient, each once.
  void update_rows(nn::Parameters<Scalar>& parameters, Index table, const nn::RowGradients<Scalar>& gradients,
                   const Threads& threads);

  void update_arena(nn::Parameters<Scalar>& parameters, std::span<const Scalar> gradient);

  /// Brings all rows of all tables to the state of the last step; training may go on after it.
  void finish(nn::Parameters<Scalar>& parameters, const Threads& threads);

  /// Call it after finish().
  OptimizerState<Scalar> state() const;

  /// Goes on from another training's end, before the first step. Tables may have grown since: further rows begin with nothing. A
  /// kind that remembers more than `state` holds begins with nothing too. Throws invalid_argument where sizes do not fit.
  void resume(const OptimizerState<Scalar>& state);

 private:
  struct State {
    Matrix<Scalar> first, second;    // (rows, width) m and v; Adagrad: second only, (rows, 1) when row-wise
    std::vector<std::int32_t> last;  // (rows) step that the row has taken part in; Adam only
  };

  /// What step s does to a row without a gradient: w -= move * m / (sqrt(v) * scale + epsilon), w *= 1 - decay before it.
  struct Missed {
    Scalar move, scale, decay;
  };

  bool replays() const { return spec_.kind == OptimizerKind::kAdam; }
  bool is_adam() const { return spec_.kind == OptimizerKind::kAdam || spec_.kind == OptimizerKind::kLazyAdam; }
  /// The sum of the moves j = 1 ... n of a row that rests, m and v being those at its start and r = sqrt(v):
  ///
  ///   sum of move_j beta1^j m / (r scale_j beta2^(j/2) + epsilon) = m sum of c_j / (r + e_j)
  ///     = m / (r + e) sum of c_j (1 - x_j + x_j^2 - x_j^3 + ...),   x_j = (e_j - e) / (r + e)
  ///
  /// with e_j = epsilon / (scale_j beta2^(j/2)) and e their mean weighted by c_j, so that the sum over x_j vanishes. The sums of
  /// powers belong to the steps alone; what is left out is below their fourth moment, since |x_j| is at most |e_j - e| / e.
  struct Rest {
    double sum, mean;      // of c_j; of e_j
    double second, third;  // central moments of e_j / e
    double fourth;
    double kept;  // what the decay leaves of the values
  };

  void prefetch(const Scalar* values, Index width, const State& state, Index row) const;
  void replay_row(Scalar* values, State& state, Index row, Index until) const;
  void take_moves(Scalar* values, Scalar* m, Scalar* v, Index width, Index last, Index count) const;
  bool take_moves_at_once(Scalar* values, Scalar* m, Scalar* v, Index width, Index last, Index count) const;
  Rest rest(Index last, Index count) const;
  void update_row(Scalar* values, const Scalar* gradient, Index width, State& state, Index row) const;

  OptimizerSpec spec_;
  Index replay_ = 0;  // missed moves that are worth taking: 132 with beta1 = 0.9
  Index step_ = 0;    // steps begun; the first is 1
  Index age_ = 0;     // steps of earlier trainings
  double learning_rate_ = 0;
  std::vector<Missed> missed_;       // (step_) missed_[s - 1] belongs to step s
  std::vector<double> fade_, rise_;  // (replay_ + 1) (beta1 / sqrt(beta2))^j and beta2^(-j/2); empty where moves do not die out
  std::vector<double> log_kept_;     // (step_ + 1) running sum of log(1 - decay)
  State arena_;
  std::vector<State> tables_;
};

}  // namespace twotower::train
