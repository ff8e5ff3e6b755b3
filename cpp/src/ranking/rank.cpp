#include "twotower/ranking/rank.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/retrieval/keeper.hpp"

namespace twotower::ranking {
namespace {

using retrieval::Key;

constexpr Index kPart = 2048;   // candidates a task: one user's long list is shared by all threads
constexpr Index kAtOnce = 256;  // queries whose lists are held at a time

void check(const char* function, const Scorer& scorer, Index k, const Rows<Row>& rows, const Rows<float>& scores) {
  check_at_least(function, "k", k, 1);
  check_size(function, "width of the users", scorer.users.cols(), "width of a user's vector", scorer.model.user_vector_width());
  check_size(function, "width of the items", scorer.items.cols(), "width of an item's vector", scorer.model.item_vector_width());
  check_size(function, "the number of result rows", rows.rows(), "the number of queries", scorer.users.rows());
  check_size(function, "the number of result scores", scores.rows(), "the number of queries", scorer.users.rows());
  check_size(function, "the width of the result rows", rows.cols(), "k", k);
  check_size(function, "the width of the result scores", scores.cols(), "k", k);
}

/// What a query may get, each once, and the numbers that come with them.
struct List {
  std::span<const Row> candidates;
  std::span<const float> given;
};

/// A part of a query's list, and its best k once they are known.
struct Part {
  Index query, begin, end;
  std::vector<Key> best;
};

void keep_best(std::vector<Key>& keys, Index k) {
  const auto kept = std::min(static_cast<std::size_t>(k), keys.size());
  std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(kept), keys.end(), std::greater<>());
  keys.resize(kept);
}

void rank_part(const Scorer& scorer, Index query, const List& list, Index k, Part& part) {
  const auto begin = static_cast<std::size_t>(part.begin), size = static_cast<std::size_t>(part.end - part.begin);
  const auto candidates = list.candidates.subspan(begin, size);
  // A thread keeps its buffers from part to part.
  thread_local std::vector<float> values;
  thread_local model::HeadScratch<float> scratch;
  values.resize(size);
  scorer.model.score_list(scorer.users.row(query).data(), scorer.items, candidates,
                          list.given.empty() ? list.given : list.given.subspan(begin, size), values, scratch);
  part.best.reserve(size);
  for (std::size_t i = 0; i < size; ++i) {
    if (!std::isfinite(values[i])) [[unlikely]]
      fail_numerically("rank", "the score of user " + std::to_string(query) + " and item " + std::to_string(candidates[i]) +
                                   " is " + shown(static_cast<double>(values[i])) +
                                   ", but must be a finite number; vectors, given numbers and parameters must be finite");
    part.best.push_back(retrieval::key_of(values[i], candidates[i]));
  }
  keep_best(part.best, k);
}

/// Ranks the lists that list_of(query, buffer) gives, some queries at a time: first the best of every part, then of a query's
/// parts. A pair's score depends on the pair alone, so the parts' borders do not matter.
template <class ListOf>
void rank_lists(const Scorer& scorer, Index k, const ListOf& list_of, const Threads& threads, Rows<Row> rows,
                Rows<float> scores) {
  const Index queries = scorer.users.rows();
  std::vector<std::vector<Row>> buffers(static_cast<std::size_t>(std::min(kAtOnce, queries)));
  std::vector<List> lists(buffers.size());
  std::vector<Part> parts;
  std::vector<std::size_t> first(buffers.size() + 1);
  for (Index begin = 0; begin < queries; begin += kAtOnce) {
    const Index size = std::min(kAtOnce, queries - begin);
    threads.for_blocks(size, 1, [&](Index q, Index, Index) {
      lists[static_cast<std::size_t>(q)] = list_of(begin + q, buffers[static_cast<std::size_t>(q)]);
    });
    parts.clear();
    for (Index q = 0; q < size; ++q) {
      const Index length = std::ssize(lists[static_cast<std::size_t>(q)].candidates);
      first[static_cast<std::size_t>(q)] = parts.size();
      for (Index place = 0; place < length; place += kPart) parts.push_back({q, place, std::min(length, place + kPart), {}});
    }
    first[static_cast<std::size_t>(size)] = parts.size();
    threads.for_blocks(std::ssize(parts), 1, [&](Index p, Index, Index) {
      Part& part = parts[static_cast<std::size_t>(p)];
      rank_part(scorer, begin + part.query, lists[static_cast<std::size_t>(part.query)], k, part);
    });
    threads.for_blocks(size, 16, [&](Index from, Index to, Index) {
      std::vector<Key> keys;
      for (Index q = from; q < to; ++q) {
        keys.clear();
        for (auto p = first[static_cast<std::size_t>(q)]; p < first[static_cast<std::size_t>(q) + 1]; ++p)
          keys.insert(keys.end(), parts[p].best.begin(), parts[p].best.end());
        keep_best(keys, k);
        retrieval::write_best(keys, begin + q, rows, scores);
      }
    });
  }
}

}  // namespace

void rank(const Scorer& scorer, std::span<const std::int64_t> offsets, std::span<const Row> candidates,
          std::span<const float> given, Index k, const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  constexpr const char* kName = "rank";
  check(kName, scorer, k, rows, scores);
  check_size(kName, "size of offsets", std::ssize(offsets), "the number of queries + 1", scorer.users.rows() + 1);
  check_offsets(kName, "offsets", offsets, std::ssize(candidates));
  check_rows(kName, "candidates", candidates, scorer.items.rows());
  const bool is_given = scorer.model.meeting().given;
  check_size(kName, "size of given", std::ssize(given), is_given ? "size of candidates" : "none",
             is_given ? std::ssize(candidates) : 0);
  const auto list_of = [&](Index query, std::vector<Row>&) {
    const auto begin = static_cast<std::size_t>(offsets[static_cast<std::size_t>(query)]);
    const auto size = static_cast<std::size_t>(offsets[static_cast<std::size_t>(query) + 1]) - begin;
    return List{candidates.subspan(begin, size), is_given ? given.subspan(begin, size) : given};
  };
  rank_lists(scorer, k, list_of, threads, rows, scores);
}

void rank_all(const Scorer& scorer, Index k, const retrieval::Filters& filters, const Threads& threads, Rows<Row> rows,
              Rows<float> scores) {
  constexpr const char* kName = "rank_all";
  check(kName, scorer, k, rows, scores);
  const Index items = scorer.items.rows();
  retrieval::check_filters(kName, filters, scorer.users.rows(), items, threads);
  if (scorer.model.meeting().given)
    fail(kName, "the model reads a number that comes with each pair; rank candidates that bring theirs");
  const auto allowed = [&](Row item) { return !filters.allowed || (*filters.allowed)[static_cast<std::size_t>(item)] != 0; };
  std::vector<Row> everything;  // what may come back at all
  for (Row item = 0; item < items; ++item)
    if (allowed(item)) everything.push_back(item);
  const auto list_of = [&](Index query, std::vector<Row>& left) {
    const bool listed = filters.listed && filters.listed->has(query);
    retrieval::Exclusions exclusions(filters, query, 0);
    left.clear();
    for (const Row item : listed ? filters.listed->of(query) : std::span<const Row>(everything)) {
      const bool repeated = !left.empty() && left.back() == item;  // lists ascend
      if (exclusions.pass(item) && !repeated && (!listed || allowed(item))) left.push_back(item);
    }
    return List{left, {}};
  };
  rank_lists(scorer, k, list_of, threads, rows, scores);
}

void retrieve_and_rank(const retrieval::ItemIndex& index, ConstRows<float> queries, Index candidates,
                       const retrieval::Filters& filters, const Scorer& scorer, const Scale& scale, Index k,
                       const Threads& threads, Rows<Row> rows, Rows<float> scores) {
  constexpr const char* kName = "retrieve_and_rank";
  check(kName, scorer, k, rows, scores);
  check_at_least(kName, "candidates", candidates, k);
  check_size(kName, "the number of queries", queries.rows(), "the number of users", scorer.users.rows());
  check_size(kName, "items of the index", index.rows(), "items of the model", scorer.items.rows());
  check_positive(kName, "deviation", static_cast<double>(scale.deviation));
  const Index width = std::max<Index>(1, std::min(candidates, index.rows()));
  Matrix<Row> found(queries.rows(), width);
  Matrix<float> first(queries.rows(), width);
  index.top_k(queries, width, filters, threads, found, first);
  const auto list_of = [&](Index query, std::vector<Row>&) {
    const Row* begin = found.row(query).data();
    const auto size = static_cast<std::size_t>(std::find(begin, begin + width, Row{-1}) - begin);
    const std::span<float> given(first.row(query).data(), scorer.model.meeting().given ? size : 0);
    for (float& score : given) score = (score - scale.mean) / scale.deviation;
    return List{{begin, size}, given};
  };
  rank_lists(scorer, k, list_of, threads, rows, scores);
}

}  // namespace twotower::ranking
