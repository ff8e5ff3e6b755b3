#pragma once
// Threads. Work is cut into blocks whose number and borders depend on the problem alone; threads only decide who runs which
// block, never what is computed. The only place that knows oneTBB.
#include <memory>
#include <type_traits>

#include "twotower/base/types.hpp"

namespace twotower {

/// Sets flush-to-zero and denormals-are-zero on this thread and restores them: softmax tails full of denormals cost ten times.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned int saved_;
};

/// CPUs this process may use: the smaller of its affinity and its cgroup's limit, at least 1. Never the machine's count.
int available_threads();

/// A team of at most `num_threads` threads; cheap to copy, shared by everything that one call does.
class Threads {
 public:
  /// num_threads >= 1, or -1 for available_threads(). Throws std::invalid_argument otherwise.
  explicit Threads(int num_threads = 1);

  int count() const;

  /// Runs body(begin, end, block) for the blocks [0, block_size), [block_size, 2 block_size) ... of [0, count), each once, in any
  /// order. The first exception of a body surfaces here, on the calling thread.
  template <class Body>
  void for_blocks(Index count, Index block_size, const Body& body) const {
    run(count, block_size, &body,
        [](const void* self, Index begin, Index end, Index block) { (*static_cast<const Body*>(self))(begin, end, block); });
  }

  /// Runs two bodies that share nothing, perhaps at the same time; each may cut its work into blocks. The first exception
  /// surfaces here, after both have ended.
  template <class First, class Second>
  void together(const First& first, const Second& second) const {
    run_both({&first, [](const void* self) { (*static_cast<const First*>(self))(); }},
             {&second, [](const void* self) { (*static_cast<const Second*>(self))(); }});
  }

  /// Runs body() with the team at hand, so that the many short runs of blocks in it need not call it together each time.
  template <class Body>
  void inside(const Body& body) const {
    run_inside({&body, [](const void* self) { (*static_cast<const Body*>(self))(); }});
  }

 private:
  using Call = void (*)(const void*, Index, Index, Index);
  struct Task {
    const void* body;
    void (*call)(const void*);
    void operator()() const { call(body); }
  };
  void run(Index count, Index block_size, const void* body, Call call) const;
  void run_both(Task first, Task second) const;
  void run_inside(Task task) const;

  struct Team;
  std::shared_ptr<Team> team_;
};

/// parts[0] becomes the sum of all parts, added up in a fixed binary tree; every part has `size` values. Destroys the others.
template <class Scalar>
void tree_sum(std::span<Scalar* const> parts, Index size) {
  for (std::size_t step = 1; step < parts.size(); step *= 2)
    for (std::size_t i = 0; i + step < parts.size(); i += 2 * step)
      for (Index k = 0; k < size; ++k) parts[i][k] += parts[i + step][k];
}

}  // namespace twotower
