// fault_env.cc - see fault_env.h.
#include "persistence/fault_env.h"
#include "persistence/durable_env.h"

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <leveldb/env.h>

namespace {

using leveldb::Slice;
using leveldb::Status;

struct File {
    std::string bytes;
    size_t synced = 0;                                    // how many of them survive a power cut
};
using FileRef = std::shared_ptr<File>;
using Names = std::map<std::string, FileRef>;

// One change of the directory that was not synced yet: `name` is `file` now (null: none), and `gone` is no
// longer there.
struct NameChange {
    std::string name, gone;
    FileRef file;
};

void Apply(Names *names, const NameChange &change)
{
    if (!change.gone.empty()) names->erase(change.gone);
    if (change.file) (*names)[change.name] = change.file;
}

class FaultEnv : public leveldb::EnvWrapper, public greenroom::DirectorySyncer {
  public:
    FaultEnv() : EnvWrapper(leveldb::Env::Default()) {}

    // What the C interface and the files change, under the lock.
    std::mutex lock;
    Names live, durable;
    std::vector<NameChange> unsynced;
    std::set<std::string> locks;
    uint64_t operations = 0, cut_at = 0, fail_at = 0, fail_count = 0, space = 0, life = 1;
    bool off = false;

    // Counts an operation and tells whether it works.  `seen` is the life in which a file was opened.
    Status Begin(const std::string &name, uint64_t seen)
    {
        operations++;
        if (cut_at && operations >= cut_at) off = true;
        if (off || seen != life) return Status::IOError(name, "the power is off");
        if (fail_at && operations >= fail_at && operations - fail_at < fail_count)
            return Status::IOError(name, "failed on purpose");
        return Status::OK();
    }

    Status HasRoom(const std::string &name, size_t more)
    {
        uint64_t used = more;
        for (const auto &entry : live) used += entry.second->bytes.size();
        return space && used > space ? Status::IOError(name, "no space left") : Status::OK();
    }

    Status SyncDirectory(const std::string &dir) override
    {
        std::lock_guard<std::mutex> hold(lock);
        Status status = Begin(dir, life);
        if (status.ok()) KeepNames();
        return status;
    }

    void KeepNames()
    {
        for (const NameChange &change : unsynced) Apply(&durable, change);
        unsynced.clear();
    }

    void Change(const NameChange &change)
    {
        Apply(&live, change);
        unsynced.push_back(change);
    }

    void Restart(uint64_t seed);

    Status NewSequentialFile(const std::string &, leveldb::SequentialFile **) override;
    Status NewRandomAccessFile(const std::string &, leveldb::RandomAccessFile **) override;
    Status NewWritableFile(const std::string &, leveldb::WritableFile **) override;
    Status NewAppendableFile(const std::string &, leveldb::WritableFile **) override;
    bool FileExists(const std::string &) override;
    Status GetChildren(const std::string &, std::vector<std::string> *) override;
    Status RemoveFile(const std::string &) override;
    Status CreateDir(const std::string &) override { return Status::OK(); }
    Status RemoveDir(const std::string &) override { return Status::OK(); }
    Status GetFileSize(const std::string &, uint64_t *) override;
    Status RenameFile(const std::string &, const std::string &) override;
    Status LockFile(const std::string &, leveldb::FileLock **) override;
    Status UnlockFile(leveldb::FileLock *) override;
    // LevelDB's brakes on writers; a test has no reader to spare.
    void SleepForMicroseconds(int) override {}

  private:
    FileRef Find(const std::string &name)
    {
        auto at = live.find(name);
        return at == live.end() ? nullptr : at->second;
    }
    Status Open(const std::string &, FileRef *);
};

class Sequential : public leveldb::SequentialFile {
  public:
    Sequential(FaultEnv *env, FileRef file) : env_(env), file_(std::move(file)) {}
    Status Read(size_t n, Slice *result, char *scratch) override
    {
        std::lock_guard<std::mutex> hold(env_->lock);
        if (env_->off) return Status::IOError("read", "the power is off");
        size_t left = file_->bytes.size() - at_;
        n = n < left ? n : left;
        memcpy(scratch, file_->bytes.data() + at_, n);
        at_ += n;
        *result = Slice(scratch, n);
        return Status::OK();
    }
    Status Skip(uint64_t n) override
    {
        std::lock_guard<std::mutex> hold(env_->lock);
        size_t left = file_->bytes.size() - at_;
        at_ += n < left ? n : left;
        return Status::OK();
    }

  private:
    FaultEnv *env_;
    FileRef file_;
    size_t at_ = 0;
};

class Random : public leveldb::RandomAccessFile {
  public:
    Random(FaultEnv *env, FileRef file) : env_(env), file_(std::move(file)) {}
    Status Read(uint64_t offset, size_t n, Slice *result, char *scratch) const override
    {
        std::lock_guard<std::mutex> hold(env_->lock);
        if (env_->off) return Status::IOError("read", "the power is off");
        size_t size = file_->bytes.size(), from = offset < size ? offset : size;
        n = n < size - from ? n : size - from;
        memcpy(scratch, file_->bytes.data() + from, n);
        *result = Slice(scratch, n);
        return Status::OK();
    }

  private:
    FaultEnv *env_;
    FileRef file_;
};

class Writable : public leveldb::WritableFile {
  public:
    Writable(FaultEnv *env, std::string name, FileRef file)
        : env_(env), name_(std::move(name)), file_(std::move(file)), life_(env->life) {}
    Status Append(const Slice &data) override
    {
        std::lock_guard<std::mutex> hold(env_->lock);
        Status status = env_->Begin(name_, life_);
        if (status.ok()) status = env_->HasRoom(name_, data.size());
        if (status.ok()) file_->bytes.append(data.data(), data.size());
        return status;
    }
    Status Close() override { return Status::OK(); }      // closing a file syncs nothing
    Status Flush() override { return Status::OK(); }
    Status Sync() override
    {
        std::lock_guard<std::mutex> hold(env_->lock);
        Status status = env_->Begin(name_, life_);
        if (!status.ok()) return status;
        file_->synced = file_->bytes.size();
        // LevelDB's own Env syncs the directory with the manifest.
        if (name_.find("/MANIFEST") != std::string::npos) env_->KeepNames();
        return status;
    }

  private:
    FaultEnv *env_;
    std::string name_;
    FileRef file_;
    uint64_t life_;
};

class Lock : public leveldb::FileLock {
  public:
    explicit Lock(std::string lock_name) : name(std::move(lock_name)) {}
    std::string name;
};

Status FaultEnv::Open(const std::string &name, FileRef *out)
{
    *out = Find(name);
    if (off) return Status::IOError(name, "the power is off");
    return *out ? Status::OK() : Status::NotFound(name, "no such file");
}

Status FaultEnv::NewSequentialFile(const std::string &name, leveldb::SequentialFile **out)
{
    std::lock_guard<std::mutex> hold(lock);
    FileRef file;
    Status status = Open(name, &file);
    *out = status.ok() ? new Sequential(this, file) : nullptr;
    return status;
}

Status FaultEnv::NewRandomAccessFile(const std::string &name, leveldb::RandomAccessFile **out)
{
    std::lock_guard<std::mutex> hold(lock);
    FileRef file;
    Status status = Open(name, &file);
    *out = status.ok() ? new Random(this, file) : nullptr;
    return status;
}

Status FaultEnv::NewWritableFile(const std::string &name, leveldb::WritableFile **out)
{
    std::lock_guard<std::mutex> hold(lock);
    *out = nullptr;
    Status status = Begin(name, life);
    if (!status.ok()) return status;
    FileRef file = std::make_shared<File>();
    Change({name, "", file});
    *out = new Writable(this, name, file);
    return status;
}

Status FaultEnv::NewAppendableFile(const std::string &name, leveldb::WritableFile **out)
{
    {
        std::lock_guard<std::mutex> hold(lock);
        FileRef file = Find(name);
        if (file) {
            Status status = Begin(name, life);
            *out = status.ok() ? new Writable(this, name, file) : nullptr;
            return status;
        }
    }
    return NewWritableFile(name, out);
}

bool FaultEnv::FileExists(const std::string &name)
{
    std::lock_guard<std::mutex> hold(lock);
    return !off && Find(name);
}

Status FaultEnv::GetChildren(const std::string &dir, std::vector<std::string> *out)
{
    std::lock_guard<std::mutex> hold(lock);
    out->clear();
    if (off) return Status::IOError(dir, "the power is off");
    std::string prefix = dir + "/";
    for (const auto &entry : live)
        if (entry.first.compare(0, prefix.size(),
                                prefix) == 0) out->push_back(entry.first.substr(prefix.size()));
    return Status::OK();
}

Status FaultEnv::RemoveFile(const std::string &name)
{
    std::lock_guard<std::mutex> hold(lock);
    Status status = Begin(name, life);
    if (!status.ok()) return status;
    if (!Find(name)) return Status::NotFound(name, "no such file");
    Change({"", name, nullptr});
    return status;
}

Status FaultEnv::GetFileSize(const std::string &name, uint64_t *size)
{
    std::lock_guard<std::mutex> hold(lock);
    FileRef file;
    Status status = Open(name, &file);
    *size = file ? file->bytes.size() : 0;
    return status;
}

Status FaultEnv::RenameFile(const std::string &from, const std::string &to)
{
    std::lock_guard<std::mutex> hold(lock);
    Status status = Begin(from, life);
    if (!status.ok()) return status;
    FileRef file = Find(from);
    if (!file) return Status::NotFound(from, "no such file");
    Change({to, from, file});
    return status;
}

Status FaultEnv::LockFile(const std::string &name, leveldb::FileLock **out)
{
    std::lock_guard<std::mutex> hold(lock);
    *out = nullptr;
    if (off) return Status::IOError(name, "the power is off");
    if (!locks.insert(name).second) return Status::IOError(name, "already locked");
    *out = new Lock(name);
    return Status::OK();
}

Status FaultEnv::UnlockFile(leveldb::FileLock *file_lock)
{
    std::lock_guard<std::mutex> hold(lock);
    locks.erase(static_cast<Lock *>(file_lock)->name);
    delete file_lock;
    return Status::OK();
}

uint64_t Draw(uint64_t *random, uint64_t below)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 33) % below;
}

void FaultEnv::Restart(uint64_t seed)
{
    std::lock_guard<std::mutex> hold(lock);
    uint64_t random = seed;
    size_t names = seed ? Draw(&random, unsynced.size() + 1) : 0;
    for (size_t i = 0; i < names; i++) Apply(&durable, unsynced[i]);
    unsynced.clear();
    live = durable;
    for (const auto &entry : live) {
        File *file = entry.second.get();
        size_t lost = file->bytes.size() - file->synced;
        file->bytes.resize(file->synced + (seed ? Draw(&random, lost + 1) : 0));
        file->synced = file->bytes.size();
    }
    off = false;
    cut_at = fail_at = 0;
    life++;
}

}  // namespace

struct gr_fault_env { FaultEnv env; };

gr_fault_env *gr_fault_env_new() { return new gr_fault_env; }

void gr_fault_env_free(gr_fault_env **at)
{
    delete *at;
    *at = nullptr;
}

void *gr_fault_env_leveldb(gr_fault_env *f) { return static_cast<leveldb::Env *>(&f->env); }

uint64_t gr_fault_env_operations(gr_fault_env *f)
{
    std::lock_guard<std::mutex> hold(f->env.lock);
    return f->env.operations;
}

void gr_fault_env_cut_at(gr_fault_env *f, uint64_t n)
{
    std::lock_guard<std::mutex> hold(f->env.lock);
    f->env.cut_at = n;
}

bool gr_fault_env_is_off(gr_fault_env *f)
{
    std::lock_guard<std::mutex> hold(f->env.lock);
    return f->env.off;
}

void gr_fault_env_restart(gr_fault_env *f, uint64_t seed) { f->env.Restart(seed); }

void gr_fault_env_fail_at(gr_fault_env *f, uint64_t n, uint64_t count)
{
    std::lock_guard<std::mutex> hold(f->env.lock);
    f->env.fail_at = n;
    f->env.fail_count = count;
}

void gr_fault_env_space(gr_fault_env *f, uint64_t bytes)
{
    std::lock_guard<std::mutex> hold(f->env.lock);
    f->env.space = bytes;
}
