#include "twotower/base/parallel.hpp"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_invoke.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sched.h>
#include <string>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "twotower/base/check.hpp"

namespace twotower {
namespace {

// cgroup v2 gives "max 100000" or "200000 100000"; v1 has the two numbers in two files.
double cgroup_cpus() {
  std::string quota;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
    if (quota != "max" && period > 0) return std::stod(quota) / period;
    return INFINITY;
  }
  double v1_quota = -1;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> v1_quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  return v1_quota > 0 && period > 0 ? v1_quota / period : INFINITY;
}

}  // namespace

#if defined(__x86_64__)
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() = default;
#endif

int available_threads() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int by_affinity = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  const double by_cgroup = std::ceil(cgroup_cpus());
  return std::max(1, std::isfinite(by_cgroup) ? std::min(by_affinity, static_cast<int>(by_cgroup)) : by_affinity);
}

struct Threads::Team {
  explicit Team(int size) : count(size), arena(size) {}
  int count;
  tbb::task_arena arena;
};

Threads::Threads(int num_threads) {
  if (num_threads != -1) check_at_least("Threads", "num_threads", num_threads, 1);
  team_ = std::make_shared<Team>(num_threads == -1 ? available_threads() : num_threads);
}

int Threads::count() const { return team_->count; }

void Threads::run(Index count, Index block_size, const void* body, Call call) const {
  check_at_least("Threads", "block_size", block_size, 1);
  const Index blocks = (count + block_size - 1) / block_size;
  const auto run_block = [&](Index block) {
    const FlushDenormals guard;
    call(body, block * block_size, std::min(count, (block + 1) * block_size), block);
  };
  if (team_->count == 1 || blocks <= 1) {
    for (Index block = 0; block < blocks; ++block) run_block(block);
    return;
  }
  team_->arena.execute([&] { tbb::parallel_for(Index{0}, blocks, run_block, tbb::simple_partitioner()); });
}

void Threads::run_both(Task first, Task second) const {
  if (team_->count == 1) {
    first();
    second();
    return;
  }
  team_->arena.execute([&] { tbb::parallel_invoke(first, second); });
}

void Threads::run_inside(Task task) const {
  if (team_->count == 1)
    task();
  else
    team_->arena.execute(task);
}

}  // namespace twotower
