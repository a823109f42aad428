// durable_env.cc - see durable_env.h.
#include "persistence/durable_env.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace greenroom {

using leveldb::Status;

DurableEnv::DurableEnv(leveldb::Env *below) : EnvWrapper(below),
    syncer_(dynamic_cast<DirectorySyncer *>(below)) {}

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

Status DurableEnv::NewWritableFile(const std::string &name, leveldb::WritableFile **out)
{
    Status status = target()->NewWritableFile(name, out);
    if (status.ok()) status = SyncDirectoryOf(name);
    if (status.ok()) return status;
    delete *out;
    *out = nullptr;
    return status;
}

Status DurableEnv::NewAppendableFile(const std::string &name, leveldb::WritableFile **out)
{
    Status status = target()->NewAppendableFile(name, out);
    if (status.ok()) status = SyncDirectoryOf(name);
    if (status.ok()) return status;
    delete *out;
    *out = nullptr;
    return status;
}

Status DurableEnv::RenameFile(const std::string &from, const std::string &to)
{
    Status status = target()->RenameFile(from, to);
    return status.ok() ? SyncDirectoryOf(to) : status;
}

}  // namespace greenroom
