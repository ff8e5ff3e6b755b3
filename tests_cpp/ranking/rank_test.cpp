#include "twotower/ranking/rank.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "support/pair_models.hpp"

using namespace twotower;
using model::PairScorer;
using ranking::Scorer;
using retrieval::Filters;
using retrieval::ItemIndex;
using test::lookup_tower;
using test::same_bits;

namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

/// A perceptron over two vectors of 5 and perhaps a given number; towers only for their width.
PairScorer<float> perceptron(bool given = false) {
  const Index width = 10 + (given ? 1 : 0);
  PairScorer<float> scorer({lookup_tower(0, 5),
                            lookup_tower(1, 5),
                            {},
                            {},
                            {true, false, false, given},
                            nn::Sequential(width, {nn::Dense{width, 8}, nn::Gelu{8}, nn::Dense{8, 1}}),
                            {{"users", 1, 5}, {"items", 1, 5}}});
  return scorer;
}

struct Lists {
  Matrix<Row> rows;
  Matrix<float> scores;

  Lists(Index queries, Index k) : rows(Matrix<Row>::Constant(queries, k, 99)), scores(Matrix<float>::Constant(queries, k, 99)) {}
};

/// The score of one pair.
float score_of(const Scorer& scorer, Row user, Row item, float given) {
  const std::vector<Row> users{user}, items{item};
  const std::vector<float> numbers(scorer.model.meeting().given ? 1 : 0, given);
  std::vector<float> score(1);
  scorer.model.score(scorer.users, scorer.items, users, items, numbers, score, Threads());
  return score[0];
}

/// Every candidate scored alone, a full sort.
Lists naive_rank(const Scorer& scorer, const std::vector<std::vector<Row>>& candidates, Index k,
                 const std::vector<std::vector<float>>& given = {}) {
  Lists made(std::ssize(candidates), k);
  made.rows.setConstant(-1);
  made.scores.setConstant(kNothing);
  for (std::size_t query = 0; query < candidates.size(); ++query) {
    std::vector<std::pair<float, Row>> order;
    for (std::size_t c = 0; c < candidates[query].size(); ++c)
      order.emplace_back(-score_of(scorer, static_cast<Row>(query), candidates[query][c], given.empty() ? 0 : given[query][c]),
                         candidates[query][c]);
    std::sort(order.begin(), order.end());
    for (std::size_t place = 0; place < std::min(order.size(), static_cast<std::size_t>(k)); ++place) {
      made.rows(static_cast<Index>(query), static_cast<Index>(place)) = order[place].second;
      made.scores(static_cast<Index>(query), static_cast<Index>(place)) = -order[place].first;
    }
  }
  return made;
}

/// Lists one after the other.
template <class T>
std::vector<T> joined(const std::vector<std::vector<T>>& lists) {
  std::vector<T> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<std::int64_t> offsets_of(const std::vector<std::vector<Row>>& lists) {
  std::vector<std::int64_t> offsets{0};
  for (const auto& list : lists) offsets.push_back(offsets.back() + std::ssize(list));
  return offsets;
}

Lists ranked(const Scorer& scorer, const std::vector<std::vector<Row>>& candidates, Index k,
             const std::vector<std::vector<float>>& given = {}, int num_threads = 1) {
  Lists made(scorer.users.rows(), k);
  ranking::rank(scorer, offsets_of(candidates), joined(candidates), joined(given), k, Threads(num_threads), made.rows,
                made.scores);
  return made;
}

Lists ranked_all(const Scorer& scorer, Index k, const Filters& filters = {}, int num_threads = 1) {
  Lists made(scorer.users.rows(), k);
  ranking::rank_all(scorer, k, filters, Threads(num_threads), made.rows, made.scores);
  return made;
}

void check_same(const Lists& got, const Lists& wanted) {
  CHECK(same_bits(got.rows, wanted.rows));
  CHECK(same_bits(got.scores, wanted.scores));
}

/// A list for every query, made of random items in random order.
std::vector<std::vector<Row>> random_candidates(Index queries, Index items, Index longest) {
  RandomStream random(17, Purpose::kTest, static_cast<std::uint64_t>(longest));
  std::vector<std::vector<Row>> lists(static_cast<std::size_t>(queries));
  for (std::size_t query = 0; query < lists.size(); ++query) {
    std::vector<Row> all(static_cast<std::size_t>(items));
    std::iota(all.begin(), all.end(), 0);
    random.shuffle(std::span(all));
    all.resize(query == 1 ? 0 : static_cast<std::size_t>(query == 2 ? longest : random.below(longest + 1)));
    lists[query] = all;
  }
  return lists;
}

/// Lists of rows for some queries, as filters have them.
struct Owned {
  std::vector<Row> of_query;
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> items;

  retrieval::ItemLists view() const { return {of_query, offsets, items}; }
};

Owned random_lists(Index queries, Index items, double share, std::uint64_t number) {
  RandomStream random(number, Purpose::kTest);
  Owned made;
  for (Index query = 0; query < queries; ++query) {
    made.of_query.push_back(query % 4 == 3 ? -1 : static_cast<Row>(made.offsets.size() - 1));
    if (query % 4 == 3) continue;
    for (Row item = 0; item < items; ++item)
      for (int twice = 0; twice < 2; ++twice)
        if (random.uniform() < share / 2) made.items.push_back(item);
    made.offsets.push_back(std::ssize(made.items));
  }
  return made;
}

}  // namespace

TEST_CASE("rank: gives what scoring each candidate alone and a full sort give") {
  const Index queries = GENERATE(0, 1, 5, 300), k = GENERATE(1, 3, 50);
  const PairScorer<float> model = perceptron();
  const auto users = test::random_matrix<float>(queries, 6, 1), items = test::random_matrix<float>(37, 6, 2);
  const Scorer scorer{model, users, items};
  const auto candidates = random_candidates(queries, 37, 37);
  check_same(ranked(scorer, candidates, k), naive_rank(scorer, candidates, k));
}

TEST_CASE("rank: a long list, and a list alone, are the same bytes as any, for 1, 2 and 7 threads") {
  const Index longest = GENERATE(2047, 2048, 2049, 5000);
  const PairScorer<float> model = perceptron();
  const auto users = test::random_matrix<float>(4, 6, 1), items = test::random_matrix<float>(5000, 6, 2);
  const Scorer scorer{model, users, items};
  const auto candidates = random_candidates(4, 5000, longest);
  const Lists wanted = ranked(scorer, candidates, 10);
  for (const int num_threads : {2, 7}) check_same(ranked(scorer, candidates, 10, {}, num_threads), wanted);
  std::vector<float> scores(candidates[2].size());
  model::HeadScratch<float> scratch;
  model.score_list(users.row(2).data(), items, candidates[2], {}, scores, scratch);
  CHECK(wanted.scores(2, 0) == *std::max_element(scores.begin(), scores.end()));
  const Matrix<float> one = users.row(2);
  check_same(ranked({model, one, items}, {candidates[2]}, 10), [&] {
    Lists row(1, 10);
    row.rows = wanted.rows.row(2);
    row.scores = wanted.scores.row(2);
    return row;
  }());
}

TEST_CASE("rank: equal scores go by the smaller row, what is missing is row -1 and score -inf") {
  const PairScorer<float> model = perceptron();
  const auto users = test::random_matrix<float>(1, 6, 1);
  const Matrix<float> items = test::random_matrix<float>(1, 6, 2).replicate(20, 1);
  const Lists got = ranked({model, users, items}, {{17, 3, 9}}, 5);
  CHECK(got.rows == (Matrix<Row>(1, 5) << 3, 9, 17, -1, -1).finished());
  CHECK(got.scores(0, 0) == got.scores(0, 2));
  CHECK(got.scores(0, 4) == kNothing);
}

TEST_CASE("rank: reads the number that comes with each candidate") {
  const PairScorer<float> model = perceptron(true);
  const auto users = test::random_matrix<float>(5, 6, 1), items = test::random_matrix<float>(37, 6, 2);
  const Scorer scorer{model, users, items};
  const auto candidates = random_candidates(5, 37, 20);
  std::vector<std::vector<float>> given, zeros;
  RandomStream random(3, Purpose::kTest);
  for (const auto& list : candidates) {
    zeros.emplace_back(list.size());
    for (float& number : given.emplace_back(list.size())) number = static_cast<float>(3 * random.normal());
  }
  const Lists got = ranked(scorer, candidates, 6, given);
  check_same(got, naive_rank(scorer, candidates, 6, given));
  CHECK(!same_bits(got.scores, ranked(scorer, candidates, 6, zeros).scores));
}

TEST_CASE("rank_all: gives what rank gives over the catalogue, less what filters leave out") {
  const Index queries = GENERATE(0, 1, 9, 300);
  const int which = GENERATE(range(0, 16));
  const Index items = 41;
  const PairScorer<float> model = perceptron();
  const auto users = test::random_matrix<float>(queries, 6, 1), vectors = test::random_matrix<float>(items, 6, 2);
  const Scorer scorer{model, users, vectors};
  const Owned seen = random_lists(queries, items, 0.5, 5), denied = random_lists(queries, items, 0.2, 6),
              listed = random_lists(queries, items, 0.6, 7);
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(items), 1);
  for (std::size_t item = 0; item < allowed.size(); item += 3) allowed[item] = 0;
  Filters filters;
  if (which & 1) filters.seen = seen.view();
  if (which & 2) filters.denied = denied.view();
  if (which & 4) filters.listed = listed.view();
  if (which & 8) filters.allowed = allowed;
  std::vector<std::vector<Row>> candidates(static_cast<std::size_t>(queries));
  for (Index query = 0; query < queries; ++query)
    for (Row item = 0; item < items; ++item) {
      const auto names = [&](const Owned& lists) {
        const auto list = lists.view().of(query);
        return std::find(list.begin(), list.end(), item) != list.end();
      };
      if ((which & 1) && names(seen)) continue;
      if ((which & 2) && names(denied)) continue;
      if ((which & 4) && listed.view().has(query) && !names(listed)) continue;
      if ((which & 8) && allowed[static_cast<std::size_t>(item)] == 0) continue;
      candidates[static_cast<std::size_t>(query)].push_back(item);
    }
  const Lists got = ranked_all(scorer, 20, filters);
  check_same(got, ranked(scorer, candidates, 20));
  check_same(ranked_all(scorer, 20, filters, 7), got);
}

TEST_CASE("rank_all: a catalogue of nothing gives nothing") {
  const PairScorer<float> model = perceptron();
  const auto users = test::random_matrix<float>(3, 6, 1);
  const Lists got = ranked_all({model, users, Matrix<float>(0, 6)}, 2);
  CHECK((got.rows.array() == -1).all());
  CHECK((got.scores.array() == kNothing).all());
}

TEST_CASE("retrieve_and_rank: ranks what the index finds, with its scores where the model reads them") {
  const bool given = GENERATE(false, true), filtered = GENERATE(false, true);
  const Index queries = GENERATE(0, 1, 9), items = 200, candidates = GENERATE(10, 40, 1000);
  const PairScorer<float> model = perceptron(given);
  const auto users = test::random_matrix<float>(queries, 6, 1), vectors = test::random_matrix<float>(items, 6, 2);
  const auto asked = test::random_matrix<float>(queries, 16, 3), offered = test::random_matrix<float>(items, 16, 4);
  const Scorer scorer{model, users, vectors};
  const ItemIndex index(offered, Threads());
  const Owned listed = random_lists(queries, items, 0.1, 7);  // fewer than candidates
  const ranking::Scale scale{0.3F, 1.7F};
  Filters filters;
  if (filtered) filters.listed = listed.view();

  const Index width = std::min(candidates, items);
  Matrix<Row> found(queries, width);
  Matrix<float> first(queries, width);
  index.top_k(asked, width, filters, Threads(), found, first);
  std::vector<std::vector<Row>> lists(static_cast<std::size_t>(queries));
  std::vector<std::vector<float>> numbers(lists.size());
  for (Index query = 0; query < queries; ++query)
    for (Index place = 0; place < width && found(query, place) >= 0; ++place) {
      lists[static_cast<std::size_t>(query)].push_back(found(query, place));
      if (given) numbers[static_cast<std::size_t>(query)].push_back((first(query, place) - scale.mean) / scale.deviation);
    }
  const Lists wanted = ranked(scorer, lists, 7, numbers);
  for (const int num_threads : {1, 2, 7}) {
    Lists got(queries, 7);
    ranking::retrieve_and_rank(index, asked, candidates, filters, scorer, scale, 7, Threads(num_threads), got.rows, got.scores);
    check_same(got, wanted);
  }
}

TEST_CASE("retrieve_and_rank: an index of nothing gives nothing") {
  const PairScorer<float> model = perceptron();
  const auto users = test::random_matrix<float>(3, 6, 1), asked = test::random_matrix<float>(3, 4, 2);
  const ItemIndex index(Matrix<float>(0, 4), Threads());
  Lists got(3, 2);
  ranking::retrieve_and_rank(index, asked, 10, {}, {model, users, Matrix<float>(0, 6)}, {}, 2, Threads(), got.rows, got.scores);
  CHECK((got.rows.array() == -1).all());
}

TEST_CASE("rank, rank_all and retrieve_and_rank refuse what does not fit") {
  const PairScorer<float> model = perceptron(), reads = perceptron(true);
  const auto users = test::random_matrix<float>(2, 6, 1), items = test::random_matrix<float>(5, 6, 2);
  const Scorer scorer{model, users, items};
  const auto rank = [](const Scorer& of, const std::vector<std::int64_t>& offsets, const std::vector<Row>& candidates,
                       const std::vector<float>& given, Index k, Index columns) {
    Lists made(2, columns);
    ranking::rank(of, offsets, candidates, given, k, Threads(), made.rows, made.scores);
  };
  CHECK_NOTHROW(rank(scorer, {0, 0, 0}, {}, {}, 1, 1));
  CHECK_THROWS_WITH(rank(scorer, {0, 0, 0}, {}, {}, 0, 1), "rank: k is 0, but must be at least 1");
  CHECK_THROWS_WITH(rank(scorer, {0, 0, 0}, {}, {}, 2, 1),
                    "rank: the width of the result rows is 1, but must equal k, which is 2");
  CHECK_THROWS_WITH(rank(scorer, {0, 0}, {}, {}, 1, 1),
                    "rank: size of offsets is 2, but must equal the number of queries + 1, which is 3");
  CHECK_THROWS_WITH(rank(scorer, {0, 2, 1}, {1}, {}, 1, 1),
                    "rank: offsets[2] is 1, but must not be below offsets[1], which is 2");
  CHECK_THROWS_WITH(rank(scorer, {0, 1, 2}, {1, 5}, {}, 1, 1), "rank: candidates[1] is 5, but must be in [0, 5)");
  CHECK_THROWS_WITH(rank(scorer, {0, 1, 1}, {1}, {1}, 1, 1), "rank: size of given is 1, but must equal none, which is 0");
  CHECK_THROWS_WITH(rank({reads, users, items}, {0, 1, 1}, {1}, {}, 1, 1),
                    "rank: size of given is 0, but must equal size of candidates, which is 1");
  CHECK_THROWS_WITH(rank({model, users.leftCols(5), items}, {0, 0, 0}, {}, {}, 1, 1),
                    "rank: width of the users is 5, but must equal width of a user's vector, which is 6");
  CHECK_THROWS_WITH(rank({model, users, items.leftCols(5)}, {0, 0, 0}, {}, {}, 1, 1),
                    "rank: width of the items is 5, but must equal width of an item's vector, which is 6");
  CHECK_THROWS_WITH(ranked_all({reads, users, items}, 1),
                    "rank_all: the model reads a number that comes with each pair; rank candidates that bring theirs");
  Matrix<float> broken = items;
  broken(3, 2) = std::nanf("");
  CHECK_THROWS_WITH(
      rank({model, users, broken}, {0, 0, 2}, {1, 3}, {}, 1, 1),
      "rank: the score of user 1 and item 3 is nan, but must be a finite number; vectors, given numbers and parameters "
      "must be finite");
  Filters filters;
  const std::vector<std::uint8_t> allowed(4, 1);
  filters.allowed = allowed;
  CHECK_THROWS_WITH(ranked_all(scorer, 1, filters),
                    "rank_all: the size of allowed is 4, but must equal the number of items, which is 5");
  const auto both = [&](Index indexed, Index queries, Index candidates, const ranking::Scale& scale = {}) {
    const ItemIndex index(test::random_matrix<float>(indexed, 4, 3), Threads());
    Lists made(2, 3);
    ranking::retrieve_and_rank(index, test::random_matrix<float>(queries, 4, 4), candidates, {}, scorer, scale, 3, Threads(),
                               made.rows, made.scores);
  };
  CHECK_THROWS_WITH(both(5, 2, 2), "retrieve_and_rank: candidates is 2, but must be at least 3");
  CHECK_THROWS_WITH(both(5, 1, 4),
                    "retrieve_and_rank: the number of queries is 1, but must equal the number of users, which is 2");
  CHECK_THROWS_WITH(both(5, 2, 4, {0, 0}), "retrieve_and_rank: deviation is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(both(6, 2, 4), "retrieve_and_rank: items of the index is 6, but must equal items of the model, which is 5");
}
