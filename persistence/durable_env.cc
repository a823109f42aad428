// durable_env.cc - see durable_env.h.
#include "persistence/durable_env.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/resource.h>
#include <unistd.h>

namespace greenroom {

using leveldb::Status;

enum { MERGE_NICE = 5 };                                  // below those who answer, above long work of the pool

DurableEnv::DurableEnv(leveldb::Env *below) : EnvWrapper(below),
    syncer_(dynamic_cast<DirectorySyncer *>(below)) {}

namespace {

class PreadFile : public leveldb::RandomAccessFile {
  public:
    PreadFile(std::string name, int fd) : name_(std::move(name)), fd_(fd) {}
    ~PreadFile() override { close(fd_); }
    Status Read(uint64_t offset, size_t n, leveldb::Slice *result, char *scratch) const override
    {
        size_t got = 0;
        while (got < n) {
            ssize_t part = pread(fd_, scratch + got, n - got, static_cast<off_t>(offset + got));
            if (part == 0) break;
            if (part > 0) got += static_cast<size_t>(part);
            else if (errno != EINTR) return Status::IOError(name_, strerror(errno));
        }
        *result = leveldb::Slice(scratch, got);
        return Status::OK();
    }

  private:
    std::string name_;
    int fd_;
};

// Fails for ever after the first failure.
class HonestFile : public leveldb::WritableFile {
  public:
    HonestFile(leveldb::WritableFile *below, bool table) : below_(below), table_(table) {}
    Status Append(const leveldb::Slice &data) override { return status_.ok() ? Keep(below_->Append(data)) : status_; }
    Status Flush() override { return status_.ok() && !table_ ? Keep(below_->Flush()) : status_; }
    Status Sync() override { return status_.ok() ? Keep(below_->Sync()) : status_; }
    Status Close() override
    {
        Status closed = below_->Close();
        return status_.ok() ? Keep(closed) : status_;
    }

  private:
    Status Keep(const Status &status)
    {
        status_ = status;
        return status;
    }
    std::unique_ptr<leveldb::WritableFile> below_;
    bool table_;                                          // a table: nobody reads it before it is synced
    Status status_;                                       // of the first failure, else OK
};

}  // namespace

Status DurableEnv::NewRandomAccessFile(const std::string &name, leveldb::RandomAccessFile **out)
{
    if (syncer_) return target()->NewRandomAccessFile(name, out);
    *out = nullptr;
    int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return Status::NotFound(name, strerror(errno));
    if (fd < 0) return Status::IOError(name, strerror(errno));
    *out = new PreadFile(name, fd);
    return Status::OK();
}

static Status SyncSystemDirectory(const std::string &dir)
{
    int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Status::IOError(dir, strerror(errno));
    Status status = fsync(fd) == 0 ? Status::OK() : Status::IOError(dir, strerror(errno));
    close(fd);
    return status;
}

Status DurableEnv::SyncDirectoryOf(const std::string &name)
{
    size_t slash = name.rfind('/');
    std::string dir = slash == std::string::npos ? "." : name.substr(0, slash);
    return syncer_ ? syncer_->SyncDirectory(dir) : SyncSystemDirectory(dir);
}

static bool IsTable(const std::string &name)
{
    static const std::string end = ".ldb";
    return name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

Status DurableEnv::Opened(Status status, const std::string &name, leveldb::WritableFile **out)
{
    std::unique_ptr<leveldb::WritableFile> file(status.ok() ? *out : nullptr);
    *out = nullptr;
    if (status.ok()) status = SyncDirectoryOf(name);
    if (status.ok()) *out = new HonestFile(file.release(), IsTable(name));
    return status;
}

Status DurableEnv::NewWritableFile(const std::string &name, leveldb::WritableFile **out)
{
    return Opened(target()->NewWritableFile(name, out), name, out);
}

Status DurableEnv::NewAppendableFile(const std::string &name, leveldb::WritableFile **out)
{
    return Opened(target()->NewAppendableFile(name, out), name, out);
}

// What the thread of merges is asked for; it is made at the first of them.
struct Merge {
    void (*run)(void *);
    void *arg;
};

static void RunMerge(void *arg)
{
    std::unique_ptr<Merge> merge(static_cast<Merge *>(arg));
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), MERGE_NICE);
    merge->run(merge->arg);
}

void DurableEnv::Schedule(void (*run)(void *), void *arg) { target()->Schedule(RunMerge, new Merge{run, arg}); }

Status DurableEnv::RenameFile(const std::string &from, const std::string &to)
{
    Status status = target()->RenameFile(from, to);
    return status.ok() ? SyncDirectoryOf(to) : status;
}

}  // namespace greenroom
