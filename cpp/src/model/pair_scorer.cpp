#include "twotower/model/pair_scorer.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "twotower/base/check.hpp"
#include "twotower/nn/ordered_sum.hpp"

namespace twotower::model {
namespace {

constexpr const char* kName = "PairScorer";
constexpr Index kTile = 32;  // rows up to which a head's input is filled, as Tower::encode does

Index end_of(const std::optional<Tower>& tower, Index arena) { return arena + (tower ? tower->parameter_count() : 0); }

std::optional<Tower> made(const std::optional<TowerSpec>& spec, Index arena) {
  if (!spec) return std::nullopt;
  Tower tower(*spec, arena);
  check_size(kName, "out_width of a bias", tower.out_width(), "the width of a score", 1);
  return tower;
}

/// The vectors of a pair, each with its bias behind it, and the number that comes with it.
template <class Scalar>
struct Pair {
  const Scalar* user;
  const Scalar* item;
  float given;
};

/// Borders of the runs of equal places: `places` ascends in [0, count).
void find_borders(std::span<const Row> places, Index count, std::vector<Index>& begin) {
  begin.assign(static_cast<std::size_t>(count) + 1, 0);
  for (const Row place : places) ++begin[static_cast<std::size_t>(place) + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
}

}  // namespace

Index Meeting::width(Index user_width, Index item_width) const {
  if ((product || dot || sum) && user_width != item_width)
    check_size(kName, "out_width of the user tower", user_width, "out_width of the item tower", item_width);
  if (split != 0)
    check_in_range(kName, "split of the meeting", static_cast<double>(split), 1, static_cast<double>(user_width - 1));
  const Index width = (vectors ? user_width + item_width : 0) + (product ? multiplied_width(user_width) : 0) + (dot ? 1 : 0) +
                      (given ? 1 : 0) + (sum ? sum_width(user_width) : 0);
  if (width == 0) fail(kName, "the meeting has no part; ask for vectors, product, dot, given or sum");
  return width;
}

template <class Scalar>
void HeadScratch<Scalar>::fit(Index rows, const nn::Sequential& head) {
  const auto grow = [rows](Matrix<Scalar>& matrix, Index width) {
    if (matrix.rows() < rows || matrix.cols() != width) matrix.resize(rows, width);
  };
  grow(joined, head.in_width());
  grow(out, 1);
  grow(cache, head.cache_width());
}

template <class Scalar>
PairScorer<Scalar>::PairScorer(const PairScorerSpec& spec)
    : user_(spec.user, 0),
      item_(spec.item, user_.parameter_count()),
      user_bias_(made(spec.user_bias, user_.parameter_count() + item_.parameter_count())),
      item_bias_(made(spec.item_bias, end_of(user_bias_, user_.parameter_count() + item_.parameter_count()))),
      meeting_(spec.meeting),
      head_(spec.head),
      head_arena_(end_of(item_bias_, end_of(user_bias_, user_.parameter_count() + item_.parameter_count()))),
      offset_(static_cast<Scalar>(spec.offset)) {
  check_size(kName, "in_width of the head", head_.in_width(), "width of the meeting",
             meeting_.width(user_.out_width(), item_.out_width()));
  check_size(kName, "out_width of the head", head_.out_width(), "the width of a score", 1);
  add_tables(kName, spec.tables, spec.deviation, spec.seed, parameters_);
  parameters_.arena.resize(static_cast<std::size_t>(head_arena_ + head_.parameter_count()));
  user_.initialize(parameters_, spec.seed, 0);
  item_.initialize(parameters_, spec.seed, 1);
  if (user_bias_) user_bias_->initialize(parameters_, spec.seed, 2);
  if (item_bias_) item_bias_->initialize(parameters_, spec.seed, 3);
  RandomStream stream(spec.seed, Purpose::kInitialize, (std::uint64_t{1} << 32) + 4);  // behind the towers' own
  head_.initialize(parameters_.arena.data() + head_arena_, stream);
}

template <class Scalar>
void PairScorer<Scalar>::check(const SideData& users, const SideData& items) const {
  user_.check(users, parameters_);
  item_.check(items, parameters_);
  // Biases read columns alone: whatever a sequence reads is the tower's.
  if (user_bias_) user_bias_->check(SideData(*users.entities, users.contexts), parameters_);
  if (item_bias_) item_bias_->check(SideData(*items.entities, items.contexts), parameters_);
}

// --- training -------------------------------------------------------------------------------------------------------------

template <class Scalar>
void PairScorer<Scalar>::prepare(const SideData& users, const SideData& items, const PairRows& rows, const nn::Pass& pass,
                                 PairScratch<Scalar>& scratch) const {
  const Index pairs = std::ssize(rows.user_of_pair);
  user_.prepare(users, rows.users, pass, scratch.user);
  item_.prepare(items, rows.items, pass, scratch.item);
  if (user_bias_) user_bias_->prepare(users, rows.users, pass, scratch.user_bias);
  if (item_bias_) item_bias_->prepare(items, rows.items, pass, scratch.item_bias);
  scratch.scores.resize(static_cast<std::size_t>(pairs));
  scratch.dscores.resize(static_cast<std::size_t>(pairs));
  const auto size = static_cast<std::size_t>(pairs * joined_width());
  if (pass.training && scratch.djoined.size() < size) scratch.djoined.resize(size);
  find_borders(rows.user_of_pair, std::ssize(rows.users.entities), scratch.user_begin);
  find_borders(rows.item_of_pair, std::ssize(rows.items.entities), scratch.item_begin);
  scratch.by_item.resize(static_cast<std::size_t>(pairs));
  std::vector<Index> next(scratch.item_begin.begin(), scratch.item_begin.end());
  for (Index pair = 0; pair < pairs; ++pair) {
    const auto item = static_cast<std::size_t>(rows.item_of_pair[static_cast<std::size_t>(pair)]);
    scratch.by_item[static_cast<std::size_t>(next[item]++)] = pair;
  }
}

template <class Scalar>
void PairScorer<Scalar>::add_sources(Index table, const PairScratch<Scalar>& scratch,
                                     std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const {
  user_.add_sources<Scalar>(table, scratch.user, sources);
  item_.add_sources<Scalar>(table, scratch.item, sources);
  if (user_bias_) user_bias_->add_sources<Scalar>(table, scratch.user_bias, sources);
  if (item_bias_) item_bias_->add_sources<Scalar>(table, scratch.item_bias, sources);
}

template <class Scalar>
void PairScorer<Scalar>::meet(const Scalar* u, const Scalar* v, float given, Scalar* joined) const {
  const Index a = user_.out_width(), b = item_.out_width();
  if (meeting_.vectors) {
    joined = std::copy_n(u, a, joined);
    joined = std::copy_n(v, b, joined);
  }
  if (meeting_.product) joined = std::transform(u, u + meeting_.multiplied_width(a), v, joined, std::multiplies<>());
  if (meeting_.dot) {
    using Values = Eigen::Map<const Eigen::Array<Scalar, 1, Eigen::Dynamic>>;
    const Index multiplied = meeting_.multiplied_width(a);
    *joined++ = nn::ordered_sum(Values(u, multiplied) * Values(v, multiplied));
  }
  if (meeting_.given) *joined++ = static_cast<Scalar>(given);
  if (meeting_.sum) std::transform(u + meeting_.split, u + a, v + meeting_.split, joined, std::plus<>());
}

template <class Scalar>
void PairScorer<Scalar>::meet_block(const PairRows& rows, const PairScratch<Scalar>& scratch, Index begin,
                                    Rows<Scalar> joined) const {
  for (Index i = 0; i < joined.rows(); ++i) {
    const auto pair = static_cast<std::size_t>(begin + i);
    meet(scratch.user.y.row(rows.user_of_pair[pair]).data(), scratch.item.y.row(rows.item_of_pair[pair]).data(),
         meeting_.given ? rows.given[pair] : 0, joined.row(i).data());
  }
}

// The other way, for one pair.
template <class Scalar>
void PairScorer<Scalar>::add_to_user(const Scalar* v, const Scalar* djoined, Scalar* du) const {
  const Index a = user_.out_width();
  if (meeting_.vectors) {
    for (Index k = 0; k < a; ++k) du[k] += djoined[k];
    djoined += a + item_.out_width();
  }
  add_common(v, djoined, du);
}

template <class Scalar>
void PairScorer<Scalar>::add_to_item(const Scalar* u, const Scalar* djoined, Scalar* dv) const {
  const Index a = user_.out_width(), b = item_.out_width();
  if (meeting_.vectors) {
    for (Index k = 0; k < b; ++k) dv[k] += djoined[a + k];
    djoined += a + b;
  }
  add_common(u, djoined, dv);
}

// Product, dot and sum treat both sides alike.
template <class Scalar>
void PairScorer<Scalar>::add_common(const Scalar* other, const Scalar* djoined, Scalar* own) const {
  const Index width = user_.out_width(), multiplied = meeting_.multiplied_width(width);
  if (meeting_.product) {
    for (Index k = 0; k < multiplied; ++k) own[k] += djoined[k] * other[k];
    djoined += multiplied;
  }
  if (meeting_.dot) {
    for (Index k = 0; k < multiplied; ++k) own[k] += *djoined * other[k];
    ++djoined;
  }
  if (meeting_.given) ++djoined;
  if (!meeting_.sum) return;
  for (Index k = meeting_.split; k < width; ++k) own[k] += djoined[k - meeting_.split];
}

template <class Scalar>
void PairScorer<Scalar>::forward_towers(const SideData& users, const SideData& items, const PairRows& rows,
                                        PairScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const {
  user_.forward(parameters_, users, rows.users, scratch.user, pass, threads);
  item_.forward(parameters_, items, rows.items, scratch.item, pass, threads);
  if (user_bias_) user_bias_->forward(parameters_, users, rows.users, scratch.user_bias, pass, threads);
  if (item_bias_) item_bias_->forward(parameters_, items, rows.items, scratch.item_bias, pass, threads);
}

// What stands beside the head's part of the scores of some pairs.
template <class Scalar>
void PairScorer<Scalar>::add_biases(const PairRows& rows, PairScratch<Scalar>& scratch, Index begin, Index end) const {
  for (auto pair = static_cast<std::size_t>(begin); pair < static_cast<std::size_t>(end); ++pair) {
    Scalar& score = scratch.scores[pair];
    score += offset_;
    if (user_bias_) score += scratch.user_bias.y(rows.user_of_pair[pair], 0);
    if (item_bias_) score += scratch.item_bias.y(rows.item_of_pair[pair], 0);
  }
}

template <class Scalar>
void PairScorer<Scalar>::forward(const SideData& users, const SideData& items, const PairRows& rows, PairScratch<Scalar>& scratch,
                                 const nn::Pass& pass, const Threads& threads) const {
  forward_towers(users, items, rows, scratch, pass, threads);
  threads.for_blocks(std::ssize(rows.user_of_pair), kBlock, [&](Index begin, Index end, Index) {
    thread_local HeadScratch<Scalar> own;
    own.fit(kBlock, head_);
    const Index size = end - begin;
    meet_block(rows, scratch, begin, own.joined.topRows(size));
    nn::Pass block = pass;
    block.first_row = begin;
    RowMap<Scalar> scores(scratch.scores.data() + begin, size, 1, Eigen::OuterStride<>(1));
    head_.template forward<Scalar>(parameters_.arena.data() + head_arena_, own.joined.topRows(size), scores,
                                   own.cache.topRows(size), block);
    add_biases(rows, scratch, begin, end);
  });
}

template <class Scalar>
void PairScorer<Scalar>::backward(const SideData& users, const SideData& items, const PairRows& rows,
                                  PairScratch<Scalar>& scratch, std::span<Scalar> darena, double shrink, double bias_shrink,
                                  const nn::Pass& pass, const Threads& threads) const {
  backward_head(rows, scratch, darena, shrink, bias_shrink, pass, threads);
  backward_towers(users, items, rows, scratch, darena, pass, threads);
}

template <class Scalar>
void PairScorer<Scalar>::backward_head(const PairRows& rows, PairScratch<Scalar>& scratch, std::span<Scalar> darena,
                                       double shrink, double bias_shrink, const nn::Pass& pass, const Threads& threads,
                                       const std::function<void(Index begin, Index end)>& slopes) const {
  const Index pairs = std::ssize(rows.user_of_pair), blocks = (pairs + kBlock - 1) / kBlock;
  const Index blocks_a_group = std::max<Index>(1, (blocks + kGroups - 1) / kGroups);
  const Index groups = (blocks + blocks_a_group - 1) / blocks_a_group, own = head_.parameter_count();
  scratch.arenas.resize(std::max(scratch.arenas.size(), static_cast<std::size_t>(groups)));
  threads.for_blocks(blocks, blocks_a_group, [&](Index first, Index last, Index group) {
    thread_local HeadScratch<Scalar> of_head;
    of_head.fit(kBlock, head_);
    auto& arena = scratch.arenas[static_cast<std::size_t>(group)];
    arena.assign(static_cast<std::size_t>(own), Scalar{0});
    for (Index b = first; b < last; ++b) {
      const Index begin = b * kBlock, size = std::min(kBlock, pairs - begin);
      nn::Pass block = pass;
      block.first_row = begin;
      const auto joined = of_head.joined.topRows(size);
      const Scalar* const parameters = parameters_.arena.data() + head_arena_;
      meet_block(rows, scratch, begin, joined);
      head_.template forward<Scalar>(parameters, joined, of_head.out.topRows(size), of_head.cache.topRows(size), block);
      if (slopes) {
        for (Index i = 0; i < size; ++i) scratch.scores[static_cast<std::size_t>(begin + i)] = of_head.out(i, 0);
        add_biases(rows, scratch, begin, begin + size);
        slopes(begin, begin + size);
      }
      const ConstRowMap<Scalar> dscores(scratch.dscores.data() + begin, size, 1, Eigen::OuterStride<>(1));
      RowMap<Scalar> djoined(scratch.djoined.data() + begin * joined_width(), size, joined_width(),
                             Eigen::OuterStride<>(joined_width()));
      head_.template backward<Scalar>(parameters, joined, of_head.cache.topRows(size), dscores, djoined, arena.data(), block);
    }
  });
  sum_over_pairs(rows, scratch, shrink, bias_shrink, threads);
  if (own == 0 || groups == 0) return;
  std::vector<Scalar*> parts;
  parts.reserve(static_cast<std::size_t>(groups));
  for (Index g = 0; g < groups; ++g) parts.push_back(scratch.arenas[static_cast<std::size_t>(g)].data());
  tree_sum<Scalar>(parts, own);
  for (Index k = 0; k < own; ++k) darena[static_cast<std::size_t>(head_arena_ + k)] += parts[0][k];
}

template <class Scalar>
void PairScorer<Scalar>::backward_towers(const SideData& users, const SideData& items, const PairRows& rows,
                                         PairScratch<Scalar>& scratch, std::span<Scalar> darena, const nn::Pass& pass,
                                         const Threads& threads) const {
  user_.backward(parameters_, users, rows.users, scratch.user, darena, pass, threads);
  item_.backward(parameters_, items, rows.items, scratch.item, darena, pass, threads);
  if (user_bias_) user_bias_->backward(parameters_, users, rows.users, scratch.user_bias, darena, pass, threads);
  if (item_bias_) item_bias_->backward(parameters_, items, rows.items, scratch.item_bias, darena, pass, threads);
}

// The gradients of the towers' outputs: each vector's is the sum over its pairs, in their order, so that threads do not matter.
template <class Scalar>
void PairScorer<Scalar>::sum_over_pairs(const PairRows& rows, PairScratch<Scalar>& scratch, double shrink, double bias_shrink,
                                        const Threads& threads) const {
  const Index pairs = std::ssize(rows.user_of_pair);
  const auto pull = static_cast<Scalar>(pairs > 0 ? shrink / static_cast<double>(pairs) : 0);
  const auto bias_pull = static_cast<Scalar>(pairs > 0 ? bias_shrink / static_cast<double>(pairs) : 0);
  const auto gradient = [&](Index pair) { return scratch.djoined.data() + pair * joined_width(); };
  threads.for_blocks(std::ssize(rows.users.entities), 32, [&](Index begin, Index end, Index) {
    for (Index user = begin; user < end; ++user) {
      const Index first = scratch.user_begin[static_cast<std::size_t>(user)],
                  last = scratch.user_begin[static_cast<std::size_t>(user) + 1];
      auto sum = scratch.user.dy.row(user);
      sum = scratch.user.y.row(user) * (pull * static_cast<Scalar>(last - first));
      Scalar dbias = 0;
      for (Index pair = first; pair < last; ++pair) {
        const auto item = rows.item_of_pair[static_cast<std::size_t>(pair)];
        add_to_user(scratch.item.y.row(item).data(), gradient(pair), sum.data());
        dbias += scratch.dscores[static_cast<std::size_t>(pair)];
      }
      if (user_bias_)
        scratch.user_bias.dy(user, 0) = dbias + bias_pull * static_cast<Scalar>(last - first) * scratch.user_bias.y(user, 0);
    }
  });
  threads.for_blocks(std::ssize(rows.items.entities), 32, [&](Index begin, Index end, Index) {
    for (Index item = begin; item < end; ++item) {
      const Index first = scratch.item_begin[static_cast<std::size_t>(item)],
                  last = scratch.item_begin[static_cast<std::size_t>(item) + 1];
      auto sum = scratch.item.dy.row(item);
      sum = scratch.item.y.row(item) * (pull * static_cast<Scalar>(last - first));
      Scalar dbias = 0;
      for (Index place = first; place < last; ++place) {
        const Index pair = scratch.by_item[static_cast<std::size_t>(place)];
        const auto user = rows.user_of_pair[static_cast<std::size_t>(pair)];
        add_to_item(scratch.user.y.row(user).data(), gradient(pair), sum.data());
        dbias += scratch.dscores[static_cast<std::size_t>(pair)];
      }
      if (item_bias_)
        scratch.item_bias.dy(item, 0) = dbias + bias_pull * static_cast<Scalar>(last - first) * scratch.item_bias.y(item, 0);
    }
  });
}

// --- serving --------------------------------------------------------------------------------------------------------------

namespace {

template <class Scalar>
void write_vectors(const Tower& tower, const std::optional<Tower>& bias, const nn::Parameters<Scalar>& parameters,
                   const SideData& data, const TowerRows& rows, Rows<Scalar> out, const Threads& threads) {
  check_size(kName, "columns of out", out.cols(), "width of the vectors", tower.out_width() + 1);
  tower.encode<Scalar>(parameters, data, rows, out.leftCols(tower.out_width()), threads);
  if (bias)
    bias->encode<Scalar>(parameters, SideData(*data.entities, data.contexts), rows, out.rightCols(1), threads);
  else
    out.rightCols(1).setZero();
}

}  // namespace

template <class Scalar>
void PairScorer<Scalar>::user_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out,
                                      const Threads& threads) const {
  write_vectors(user_, user_bias_, parameters_, data, rows, out, threads);
}

template <class Scalar>
void PairScorer<Scalar>::item_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out,
                                      const Threads& threads) const {
  write_vectors(item_, item_bias_, parameters_, data, rows, out, threads);
}

template <class Scalar>
void PairScorer<Scalar>::score(ConstRows<Scalar> users, ConstRows<Scalar> items, std::span<const Row> user_rows,
                               std::span<const Row> item_rows, std::span<const float> given, std::span<Scalar> scores,
                               const Threads& threads) const {
  const Index pairs = std::ssize(user_rows);
  check_size("score", "width of users", users.cols(), "width of a user's vector", user_vector_width());
  check_size("score", "width of items", items.cols(), "width of an item's vector", item_vector_width());
  check_size("score", "size of item_rows", std::ssize(item_rows), "size of user_rows", pairs);
  check_size("score", "size of scores", std::ssize(scores), "size of user_rows", pairs);
  check_size("score", "size of given", std::ssize(given), meeting_.given ? "size of user_rows" : "none",
             meeting_.given ? pairs : 0);
  check_rows("score", "user_rows", user_rows, users.rows());
  check_rows("score", "item_rows", item_rows, items.rows());
  threads.for_blocks(pairs, kBlock, [&](Index begin, Index end, Index) {
    thread_local HeadScratch<Scalar> scratch;
    const auto pair_of = [&](Index i) {
      const auto pair = static_cast<std::size_t>(begin + i);
      return Pair<Scalar>{users.row(user_rows[pair]).data(), items.row(item_rows[pair]).data(), meeting_.given ? given[pair] : 0};
    };
    score_block(end - begin, pair_of, scores.subspan(static_cast<std::size_t>(begin)), scratch);
  });
}

template <class Scalar>
void PairScorer<Scalar>::score_list(const Scalar* user, ConstRows<Scalar> items, std::span<const Row> item_rows,
                                    std::span<const float> given, std::span<Scalar> scores, HeadScratch<Scalar>& scratch) const {
  const Index n = std::ssize(item_rows);
  for (Index begin = 0; begin < n; begin += kBlock) {
    const auto pair_of = [&](Index i) {
      const auto place = static_cast<std::size_t>(begin + i);
      return Pair<Scalar>{user, items.row(item_rows[place]).data(), meeting_.given ? given[place] : 0};
    };
    score_block(std::min(kBlock, n - begin), pair_of, scores.subspan(static_cast<std::size_t>(begin)), scratch);
  }
}

// A matrix product takes other paths, and gives other last bits, for a few rows than for many: a block is filled up to whole
// tiles, so that a pair's score does not depend on its companions.
template <class Scalar>
template <class PairOf>
void PairScorer<Scalar>::score_block(Index size, const PairOf& pair_of, std::span<Scalar> scores,
                                     HeadScratch<Scalar>& scratch) const {
  const Index filled = (size + kTile - 1) / kTile * kTile;
  scratch.fit(kBlock, head_);
  for (Index i = 0; i < filled; ++i) {
    const Pair<Scalar> pair = pair_of(std::min(i, size - 1));
    meet(pair.user, pair.item, pair.given, scratch.joined.row(i).data());
  }
  head_.template forward<Scalar>(parameters_.arena.data() + head_arena_, scratch.joined.topRows(filled),
                                 scratch.out.topRows(filled), scratch.cache.topRows(filled), nn::Pass{});
  for (Index i = 0; i < size; ++i) {
    const Pair<Scalar> pair = pair_of(i);
    scores[static_cast<std::size_t>(i)] =
        scratch.out(i, 0) + offset_ + pair.user[user_.out_width()] + pair.item[item_.out_width()];
  }
}

template struct HeadScratch<float>;
template struct HeadScratch<double>;
template class PairScorer<float>;
template class PairScorer<double>;

}  // namespace twotower::model
